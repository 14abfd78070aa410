-- Which episodes are idle most of the time?
select episode_id, rate(not a and not b and not x and not y and not lb and not rb and not lt and not rt and not dpad_up and not dpad_down and not l3 and not r3
    and left_x = 5 and left_y = 5 and right_x = 5 and right_y = 5) as idle
from steps
group by episode_id
having rate(not a and not b and not x and not y and not lb and not rb and not lt and not rt and not dpad_up and not dpad_down and not l3 and not r3
    and left_x = 5 and left_y = 5 and right_x = 5 and right_y = 5) > 0.0003
order by idle desc
limit 1000
