-- Training windows: episodes cut into windows of $length steps.
--
-- A window starts every $stride steps, and one more ends with the episode where the stride does not. An episode shorter
-- than a window is one window of its own length. Episodes are on one side of the split as a whole.
--
-- Inputs:
--   episodes     episode_id, num_steps: a dataset's, or a query's result
-- Parameters:
--   $length = 32             (1..) steps of a window: the model's context
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
)
select
    episode_id,
    cast(t_start as int) as t_start,
    cast(least(num_steps, $length) as int) as length,
    cast(1 as real) as weight
from starts
order by episode_id, t_start
