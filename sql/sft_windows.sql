-- Training windows over demonstrations, weighted so that every pad counts the same.
--
-- Cut as in windows.sql. The weights of each pad's windows sum to the same total, and the mean weight is 1: a pad with
-- few or short demonstrations is not learnt less.
--
-- Inputs:
--   demonstrations     sft_demonstrations.sql's result: episode_id, num_steps, outcome
-- Parameters:
--   $length = 32             (1..) steps of a window
--   $stride = 16             (1..) steps between two starts
--   $split = 'all'           ('train', 'held_out', 'all') the side to cut
--   $split_seed = 1          as in splits.sql
--   $train_fraction = 0.9    (0..1) as in splits.sql
-- Columns: episode_id, t_start, length, weight
-- Order: episode_id, t_start

with chosen as (
    select episode_id, num_steps, outcome, greatest(num_steps - $length, 0) as last_start
    from demonstrations
    where num_steps > 0
        and ($split = 'all' or split_of(episode_id, $split_seed, $train_fraction) = $split)
),
starts as (
    select episode_id, num_steps, outcome, unnest(range(0, last_start + 1, $stride)) as t_start from chosen
    union all
    select episode_id, num_steps, outcome, last_start from chosen where last_start % $stride <> 0
),
totals as (
    select outcome, count(*) as windows, sum(count(*)) over () as all_windows, count(*) over () as pads
    from starts
    group by outcome
)
select
    s.episode_id,
    cast(s.t_start as int) as t_start,
    cast(least(s.num_steps, $length) as int) as length,
    cast(cast(n.all_windows as double) / (n.pads * n.windows) as real) as weight
from starts as s
join totals as n on s.outcome is not distinct from n.outcome
order by s.episode_id, t_start
