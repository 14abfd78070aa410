-- Which actions are the most frequent?
-- compare: n
select left_x, left_y, right_x, right_y, a, rt, count(*) as n
from steps
group by left_x, left_y, right_x, right_y, a, rt
order by n desc
limit 100
