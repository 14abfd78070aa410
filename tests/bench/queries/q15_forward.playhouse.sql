-- In which episodes is the stick pushed forward most?
select episode_id, rate(left_y >= 8) as forward, count(*) as n
from steps
group by episode_id
order by forward desc, episode_id
limit 100
