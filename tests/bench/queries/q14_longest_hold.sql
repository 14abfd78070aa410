-- Who holds the trigger longest?
select episode_id, max(n) as longest
from (
    select episode_id, t - k as run, count(*) as n
    from (
        select episode_id, t, row_number() over (partition by episode_id order by t) as k
        from steps where rt and episode_id between 30000 and 34999
    )
    group by episode_id, t - k
)
group by episode_id
order by longest desc, episode_id
limit 100
