-- Success of every evaluated policy, with 95% intervals: one row for each pad and one for none.
--
-- `none` is a fall or a time-out. A pad that was never reached has a row too: zero of n is a result, with an interval.
-- `fall_share` and `wall_fraction` are of the whole policy and repeat on its rows.
--
-- Inputs:
--   evaluation     one row a rollout: policy, outcome, num_steps, hz, wall_fraction (share of steps touching a wall)
-- Parameters: none
-- Columns: policy, result, rollouts, episodes, share, low, high, mean_seconds, fall_share, wall_fraction
-- Order: policy, result (left, middle, right, none)

with rollouts as (
    select
        policy,
        case when outcome in ('left', 'middle', 'right') then outcome else 'none' end as result,
        outcome = 'fall' as fell,
        num_steps / cast(hz as double) as seconds,
        wall_fraction
    from evaluation
),
policies as (
    select
        policy,
        count(*) as rollouts,
        count(*) filter (where fell) as falls,
        avg(wall_fraction) as wall_fraction
    from rollouts
    group by policy
),
-- A join and not an unnest: after an unnest the planner still takes `policy` for a key, and drops `place` from the order.
results as (
    select p.*, k.place, k.result
    from policies as p
    cross join (values (0, 'left'), (1, 'middle'), (2, 'right'), (3, 'none')) as k (place, result)
),
counted as (
    select policy, result, count(*) as episodes, avg(seconds) as mean_seconds
    from rollouts
    group by policy, result
)
select
    r.policy,
    r.result,
    r.rollouts,
    coalesce(c.episodes, 0) as episodes,
    cast(coalesce(c.episodes, 0) as double) / r.rollouts as share,
    wilson_low(coalesce(c.episodes, 0), r.rollouts) as low,
    wilson_high(coalesce(c.episodes, 0), r.rollouts) as high,
    c.mean_seconds,
    cast(r.falls as double) / r.rollouts as fall_share,
    r.wall_fraction
from results as r
left join counted as c on c.policy = r.policy and c.result = r.result
order by r.policy, r.place
