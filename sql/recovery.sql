-- Misses, and what becomes of them: how many rollouts came near a pad, went away without having reached it, and reached a pad after all.
--
-- A miss: a rollout that comes within $near metres of a pad's middle and later is more than $away metres from that same pad, still
-- playing. A pad that it is on ends the rollout, so whoever is gone again has not reached it. A rollout counts once, however often it
-- misses, and has recovered if it ends on any pad.
--
-- Inputs:
--   evaluation     one row a rollout: policy, episode_id, outcome
--   paths          one row a position: policy, episode_id, t, x, y in metres
--   pads           where the pads are: pad, x, y in metres
-- Parameters:
--   $near = 5.0     (0..) metres from a pad's middle that count as having come to it
--   $away = 8.0     (0..) metres from it that count as having left
-- Columns: policy, rollouts, misses, recovered, share, low, high
-- Order: policy

with distances as (
    select
        s.policy,
        s.episode_id,
        s.t,
        p.pad,
        sqrt((s.x - p.x) * (s.x - p.x) + (s.y - p.y) * (s.y - p.y)) as distance
    from paths as s
    cross join pads as p
),
came as (
    select policy, episode_id, pad, min(t) as t
    from distances
    where distance <= $near
    group by policy, episode_id, pad
),
missed as (
    select distinct d.policy, d.episode_id
    from distances as d
    join came as c on c.policy = d.policy and c.episode_id = d.episode_id and c.pad = d.pad
    where d.t > c.t and d.distance > $away
),
counted as (
    select
        e.policy,
        count(*) as rollouts,
        count(m.episode_id) as misses,
        count(m.episode_id) filter (where e.outcome in ('left', 'middle', 'right')) as recovered
    from evaluation as e
    left join missed as m on m.policy = e.policy and m.episode_id = e.episode_id
    group by e.policy
)
select
    policy,
    rollouts,
    misses,
    recovered,
    cast(recovered as double) / nullif(misses, 0) as share,
    wilson_low(recovered, misses) as low,
    wilson_high(recovered, misses) as high
from counted
order by policy
