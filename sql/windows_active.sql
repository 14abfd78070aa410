-- Training windows as in windows.sql, without those in which nothing is pressed and no stick is moved.
--
-- Idle stretches of human play teach an agent to stand still. This text reads the steps, and so costs a scan of the
-- actions; where whole idle episodes are the problem, curation.sql answers from the index.
--
-- Inputs:
--   episodes     episode_id, num_steps
--   steps        the gamepad steps of the same dataset
-- Parameters:
--   $length = 32             (1..) steps of a window
--   $stride = 16             (1..) steps between two starts
--   $split = 'all'           ('train', 'held_out', 'all') the side to cut
--   $split_seed = 1          as in splits.sql
--   $train_fraction = 0.9    (0..1) as in splits.sql
-- Columns: episode_id, t_start, length, weight
-- Order: episode_id, t_start

with chosen as (
    select episode_id, num_steps, greatest(num_steps - $length, 0) as last_start
    from episodes
    where num_steps > 0
        and ($split = 'all' or split_of(episode_id, $split_seed, $train_fraction) = $split)
),
starts as (
    select episode_id, num_steps, unnest(range(0, last_start + 1, $stride)) as t_start from chosen
    union all
    select episode_id, num_steps, last_start from chosen where last_start % $stride <> 0
),
windows as (
    select episode_id, t_start, least(num_steps, $length) as length from starts
),
-- The number of active steps up to and with t: a window is idle if the count does not grow inside it.
activity as (
    select
        episode_id,
        t,
        sum(
            case
                when a or b or x or y or lb or rb or lt or rt or dpad_up or dpad_down or l3 or r3
                    or left_x <> 5 or left_y <> 5 or right_x <> 5 or right_y <> 5 then 1
                else 0
            end
        ) over (partition by episode_id order by t rows between unbounded preceding and current row) as active
    from steps
)
select
    w.episode_id,
    cast(w.t_start as int) as t_start,
    cast(w.length as int) as length,
    cast(1 as real) as weight
from windows as w
join activity as last on last.episode_id = w.episode_id and last.t = w.t_start + w.length - 1
left join activity as before on before.episode_id = w.episode_id and before.t = w.t_start - 1
where last.active > coalesce(before.active, 0)
order by w.episode_id, t_start
