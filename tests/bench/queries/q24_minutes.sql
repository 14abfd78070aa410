-- How do the inputs change as a session goes on?
select cast(floor(t / 600.0) as int) as minute, count(*) as n, avg(cast(rt as int)) as shooting, avg(left_y) as forward
from steps
group by 1
order by minute
