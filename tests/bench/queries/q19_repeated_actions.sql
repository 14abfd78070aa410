-- What share of actions repeats the one before?
select count(*) as n, avg(case when left_x = lx and left_y = ly and right_x = rx and right_y = ry and a = pa then 1.0 else 0.0 end) as repeats
from (
    select left_x, left_y, right_x, right_y, a,
        lag(left_x) over (partition by episode_id order by t) as lx,
        lag(left_y) over (partition by episode_id order by t) as ly,
        lag(right_x) over (partition by episode_id order by t) as rx,
        lag(right_y) over (partition by episode_id order by t) as ry,
        lag(a) over (partition by episode_id order by t) as pa
    from steps where episode_id < 5000
)
