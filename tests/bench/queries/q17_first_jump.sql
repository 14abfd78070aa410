-- When do players jump for the first time?
select first, count(*) as episodes
from (select episode_id, min(t) as first from steps where a group by episode_id)
group by first
order by first
limit 100
