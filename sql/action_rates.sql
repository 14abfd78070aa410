-- How often every component of the gamepad is used: pressed, or away from the centre.
--
-- Inputs:
--   steps     a dataset's steps
-- Parameters: none
-- Columns: component, active, steps, rate
-- Order: the action space's

with counted as (
    select
        count(*) as steps,
        count(*) filter (where a) as a,
        count(*) filter (where b) as b,
        count(*) filter (where x) as x,
        count(*) filter (where y) as y,
        count(*) filter (where lb) as lb,
        count(*) filter (where rb) as rb,
        count(*) filter (where lt) as lt,
        count(*) filter (where rt) as rt,
        count(*) filter (where dpad_up) as dpad_up,
        count(*) filter (where dpad_down) as dpad_down,
        count(*) filter (where l3) as l3,
        count(*) filter (where r3) as r3,
        count(*) filter (where left_x <> 5) as left_x,
        count(*) filter (where left_y <> 5) as left_y,
        count(*) filter (where right_x <> 5) as right_x,
        count(*) filter (where right_y <> 5) as right_y
    from steps
),
unpivoted as (
    select
        steps,
        unnest(range(0, 16)) as place,
        unnest(make_array(
            'a', 'b', 'x', 'y', 'lb', 'rb', 'lt', 'rt', 'dpad_up', 'dpad_down', 'l3', 'r3',
            'left_x', 'left_y', 'right_x', 'right_y'
        )) as component,
        unnest(make_array(
            a, b, x, y, lb, rb, lt, rt, dpad_up, dpad_down, l3, r3,
            left_x, left_y, right_x, right_y
        )) as active
    from counted
)
select component, active, steps, cast(active as double) / nullif(steps, 0) as rate
from unpivoted
order by place
