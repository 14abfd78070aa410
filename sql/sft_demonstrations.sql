-- Demonstrations for fine-tuning: up to $limit successful, direct trajectories, balanced over the pads.
--
-- Successful: the episode ended on a pad. Direct: among those from the same spawn to the same pad it is in the best
-- $efficiency_quantile by path efficiency (net displacement over distance walked) and in the quickest
-- $duration_quantile. The limit is dealt round by round: one to each pad in turn, and within a pad to each spawn in turn,
-- so that a popular pad or an easy spawn does not crowd out the others.
--
-- Inputs:
--   episodes     a dataset's episodes, or curation.sql's result
-- Parameters:
--   $limit = 300                   trajectories at most
--   $efficiency_quantile = 0.75    share kept by efficiency, of each spawn and pad
--   $duration_quantile = 0.75      share kept by duration, of each spawn and pad
-- Columns: episode_id, num_steps, map, spawn, outcome, efficiency
-- Order: episode_id

with successful as (
    select episode_id, num_steps, map, spawn, outcome, net_displacement / nullif(distance, 0) as efficiency
    from episodes
    where outcome in ('left', 'middle', 'right') and num_steps > 0
),
ranked as (
    select
        *,
        percent_rank() over (partition by map, spawn, outcome order by efficiency desc nulls last) as by_efficiency,
        percent_rank() over (partition by map, spawn, outcome order by num_steps) as by_duration
    from successful
),
direct as (
    select
        *,
        row_number() over (
            partition by outcome, map, spawn order by efficiency desc nulls last, episode_id
        ) as spawn_round
    from ranked
    where by_efficiency <= $efficiency_quantile and by_duration <= $duration_quantile
),
dealt as (
    select
        *,
        row_number() over (
            partition by outcome order by spawn_round, efficiency desc nulls last, episode_id
        ) as pad_round
    from direct
),
kept as (
    select * from dealt order by pad_round, outcome limit $limit
)
select episode_id, num_steps, map, spawn, outcome, efficiency
from kept
order by episode_id
