-- Episodes to look at: a measure outside Tukey's fences, the furthest out first.
--
-- For each measure the fences are $outlier_iqr interquartile ranges below the first and above the third quartile; `score`
-- is how many ranges beyond the quartile the value lies. Measures: steps, speed (metres a second), idle (share of steps),
-- repeat (longest unchanged action, share of the episode), entropy (of the actions).
--
-- Inputs:
--   episodes     a dataset's episodes
-- Parameters:
--   $outlier_iqr = 3.0     where the fences stand
--   $limit = 100           rows at most
-- Columns: episode_id, measure, value, low, high, score
-- Order: score descending, episode_id, measure

with measured as (
    select
        episode_id,
        unnest(make_array('steps', 'speed', 'idle', 'repeat', 'entropy')) as measure,
        unnest(make_array(
            cast(num_steps as double),
            cast(distance * hz / num_steps as double),
            cast(idle_fraction as double),
            cast(longest_repeat as double) / num_steps,
            cast(action_entropy as double)
        )) as value
    from episodes
    where num_steps > 0
),
quartiles as (
    select measure, percentile_cont(value, 0.25) as q1, percentile_cont(value, 0.75) as q3
    from measured
    where value is not null
    group by measure
)
select
    m.episode_id,
    m.measure,
    m.value,
    q.q1 - $outlier_iqr * (q.q3 - q.q1) as low,
    q.q3 + $outlier_iqr * (q.q3 - q.q1) as high,
    greatest(q.q1 - m.value, m.value - q.q3) / (q.q3 - q.q1) as score
from measured as m
join quartiles as q on q.measure = m.measure
where q.q3 > q.q1
    and (
        m.value < q.q1 - $outlier_iqr * (q.q3 - q.q1)
        or m.value > q.q3 + $outlier_iqr * (q.q3 - q.q1)
    )
order by score desc, m.episode_id, m.measure
limit $limit
