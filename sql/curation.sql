-- Episodes worth training on: quality gates, then de-duplication.
--
-- An episode passes if it is neither too short nor too long, not mostly idle, not one action held for most of it, varied
-- enough, and its mean speed lies within $outlier_iqr interquartile ranges of the middle half of its map (stuck recorders
-- and teleports do not). The middle half of a map may be one speed, as with a scripted player or few episodes: a range of
-- nothing would throw out every other speed, so that map has no gate. Of episodes with the same actions the one with the
-- lowest id stays. An episode without telemetry has no speed and passes that gate.
--
-- Inputs:
--   episodes     a dataset's episodes
-- Parameters:
--   $min_steps = 32          shortest episode
--   $max_steps = 1000000     longest episode
--   $max_idle = 0.9          largest share of steps without any input
--   $max_repeat = 0.9        largest share of an episode that one unchanged action may fill
--   $min_entropy = 0.0       smallest entropy of the actions
--   $outlier_iqr = 3.0       fences of the speed, in interquartile ranges
-- Columns: episode_id, num_steps, source, map, player, policy, spawn, outcome, split, hz, idle_fraction, distance, net_displacement, action_entropy, longest_repeat, action_hash
-- Order: episode_id

with measured as (
    select *, distance * hz / num_steps as speed
    from episodes
    where num_steps > 0
),
quartiles as (
    select
        map,
        percentile_cont(speed, 0.25) as q1,
        percentile_cont(speed, 0.75) as q3
    from measured
    where speed is not null
    group by map
),
passed as (
    select
        m.*,
        row_number() over (partition by m.action_hash order by m.episode_id) as copy
    from measured as m
    left join quartiles as q on m.map is not distinct from q.map
    where m.num_steps between $min_steps and $max_steps
        and m.idle_fraction <= $max_idle
        and cast(m.longest_repeat as double) / m.num_steps <= $max_repeat
        and m.action_entropy >= $min_entropy
        and (
            m.speed is null
            or q.q3 = q.q1
            or m.speed between q.q1 - $outlier_iqr * (q.q3 - q.q1) and q.q3 + $outlier_iqr * (q.q3 - q.q1)
        )
)
select
    episode_id, num_steps, source, map, player, policy, spawn, outcome, split, hz,
    idle_fraction, distance, net_displacement, action_entropy, longest_repeat, action_hash
from passed
where copy = 1
order by episode_id
