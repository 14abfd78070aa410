-- How often are two buttons held together?
select count_true(a and rt) as a_rt,
    count_true(a and lt) as a_lt,
    count_true(b and rt) as b_rt,
    count_true(lb and rb) as lb_rb,
    count_true(lt and rt) as lt_rt
from steps
