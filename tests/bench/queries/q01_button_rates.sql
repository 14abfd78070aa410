-- How often is each button down?
select avg(cast(a as int)) as a,
    avg(cast(b as int)) as b,
    avg(cast(x as int)) as x,
    avg(cast(y as int)) as y,
    avg(cast(lb as int)) as lb,
    avg(cast(rb as int)) as rb,
    avg(cast(lt as int)) as lt,
    avg(cast(rt as int)) as rt,
    avg(cast(dpad_up as int)) as dpad_up,
    avg(cast(dpad_down as int)) as dpad_down,
    avg(cast(l3 as int)) as l3,
    avg(cast(r3 as int)) as r3
from steps
