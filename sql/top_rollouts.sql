-- The agent's own best rollouts, as training windows: the data of a ReST step.
--
-- Rollouts are ranked by the reward model's score; the top $fraction (rounded up) is kept and cut as in windows.sql.
-- Rollouts without a score, or with one that is not a number, are not ranked.
--
-- Inputs:
--   episodes     episode_id, num_steps of the rollouts
--   scores       dataset, episode_id, reward: a reward stage's scores
-- Parameters:
--   $fraction = 0.2      (0..1) share of the rollouts to keep
--   $dataset = ''        the scored dataset that `episodes` is; '' if the scores are of one dataset
--   $length = 32         (1..) steps of a window
--   $stride = 16         (1..) steps between two starts
-- Columns: episode_id, t_start, length, weight
-- Order: episode_id, t_start

with ranked as (
    select
        e.episode_id,
        e.num_steps,
        row_number() over (order by s.reward desc, e.episode_id) as place,
        count(*) over () as rollouts
    from episodes as e
    join scores as s on s.episode_id = e.episode_id
    where e.num_steps > 0
        and s.reward is not null
        and not isnan(s.reward)
        and ($dataset = '' or s.dataset = $dataset)
),
kept as (
    select episode_id, num_steps, greatest(num_steps - $length, 0) as last_start
    from ranked
    -- 0.28 * 25 is a hair above 7.
    where place <= ceil($fraction * rollouts - 1e-9)
),
starts as (
    select episode_id, num_steps, unnest(range(0, last_start + 1, $stride)) as t_start from kept
    union all
    select episode_id, num_steps, last_start from kept where last_start % $stride <> 0
)
select
    episode_id,
    cast(t_start as int) as t_start,
    cast(least(num_steps, $length) as int) as length,
    cast(1 as real) as weight
from starts
order by episode_id, t_start
