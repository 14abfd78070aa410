-- Who travels furthest?
select episode_id, path_length(pos_x, pos_y, t) as d
from steps
where episode_id between 10000 and 19999
group by episode_id
order by d desc
limit 100
