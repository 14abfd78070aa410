-- Idleness by who played: the share of steps without any input.
--
-- Inputs:
--   episodes     a dataset's episodes
-- Parameters:
--   $max_idle = 0.9     an episode above this counts as idle, as in curation.sql
-- Columns: action_source, player, episodes, hours, idle_share, median_idle, most_idle, idle_episodes
-- Order: action_source, player

with named as (
    select action_source, coalesce(player, policy, 'unknown') as player, num_steps, hz, idle_fraction
    from episodes
)
select
    action_source,
    player,
    count(*) as episodes,
    sum(num_steps / cast(hz as double)) / 3600 as hours,
    sum(idle_fraction * num_steps) / sum(num_steps) as idle_share,
    percentile_cont(idle_fraction, 0.5) as median_idle,
    max(idle_fraction) as most_idle,
    count(*) filter (where idle_fraction > $max_idle) as idle_episodes
from named
group by action_source, player
order by action_source, player
