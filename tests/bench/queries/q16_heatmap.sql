-- Where on the map do players spend their time?
select cast(floor(pos_x / 10) as int) as gx, cast(floor(pos_y / 10) as int) as gy, count(*) as n
from steps
where episode_id < 20000
group by 1, 2
order by 1, 2
