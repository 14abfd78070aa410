-- In which episodes is the stick pushed forward most?
-- compare: forward
select episode_id, avg(case when left_y >= 8 then 1.0 else 0.0 end) as forward, count(*) as n
from steps
group by episode_id
order by forward desc, episode_id
limit 100
