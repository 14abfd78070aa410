-- How often are two buttons held together?
select sum(case when a and rt then 1 else 0 end) as a_rt,
    sum(case when a and lt then 1 else 0 end) as a_lt,
    sum(case when b and rt then 1 else 0 end) as b_rt,
    sum(case when lb and rb then 1 else 0 end) as lb_rb,
    sum(case when lt and rt then 1 else 0 end) as lt_rt
from steps
