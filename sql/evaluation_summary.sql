-- Success of every evaluated policy, with 95% intervals: one row for each pad and one for none.
--
-- `none` is a fall or a time-out. A pad that was never reached has a row too: zero of n is a result, with an interval.
-- Shares are of the rollouts whose outcome is known; `unknown` counts the others, and the shares are null if there are no
-- other. `rollouts`, `fall_share`, `wall_fraction` and `unknown` are of the whole policy and repeat on its rows.
--
-- Inputs:
--   evaluation     one row a rollout: policy, outcome, num_steps, hz, wall_fraction (share of steps touching a wall)
-- Parameters: none
-- Columns: policy, result, rollouts, episodes, share, low, high, mean_seconds, fall_share, wall_fraction, unknown
-- Order: policy, result (left, middle, right, none)

with rollouts as (
    select
        policy,
        case
            when outcome in ('left', 'middle', 'right') then outcome
            when outcome in ('fall', 'timeout') then 'none'
        end as result,
        outcome = 'fall' as fell,
        num_steps / cast(hz as double) as seconds,
        wall_fraction
    from evaluation
),
policies as (
    select
        policy,
        count(*) as rollouts,
        count(result) as known,
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
    cast(coalesce(c.episodes, 0) as double) / nullif(r.known, 0) as share,
    wilson_low(coalesce(c.episodes, 0), r.known) as low,
    wilson_high(coalesce(c.episodes, 0), r.known) as high,
    c.mean_seconds,
    cast(r.falls as double) / nullif(r.known, 0) as fall_share,
    r.wall_fraction,
    r.rollouts - r.known as unknown
from results as r
-- In this order: `is not distinct from` takes all that follows it, an `and` too.
left join counted as c on c.result = r.result and c.policy is not distinct from r.policy
order by r.policy, r.place
