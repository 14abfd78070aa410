-- Who travels furthest?
-- compare: d
select episode_id, sum(sqrt((pos_x - px) * (pos_x - px) + (pos_y - py) * (pos_y - py))) as d
from (
    select episode_id, pos_x, pos_y,
        lag(pos_x) over (partition by episode_id order by t) as px,
        lag(pos_y) over (partition by episode_id order by t) as py
    from steps where episode_id between 10000 and 19999
)
group by episode_id
order by d desc
limit 100
