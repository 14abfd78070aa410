-- How often is each button down?
select rate(a) as a,
    rate(b) as b,
    rate(x) as x,
    rate(y) as y,
    rate(lb) as lb,
    rate(rb) as rb,
    rate(lt) as lt,
    rate(rt) as rt,
    rate(dpad_up) as dpad_up,
    rate(dpad_down) as dpad_down,
    rate(l3) as l3,
    rate(r3) as r3
from steps
