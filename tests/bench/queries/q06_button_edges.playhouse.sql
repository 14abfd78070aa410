-- How often is the jump pressed?
select episode_id, presses(a, t) as presses
from steps
where episode_id < 20000
group by episode_id
order by presses desc
limit 100
