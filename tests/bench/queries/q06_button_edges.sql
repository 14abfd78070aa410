-- How often is the jump pressed?
-- compare: presses
select episode_id, sum(case when a and not prev then 1 else 0 end) as presses
from (
    select episode_id, a, lag(a, 1, false) over (partition by episode_id order by t) as prev
    from steps where episode_id < 20000
)
group by episode_id
order by presses desc
limit 100
