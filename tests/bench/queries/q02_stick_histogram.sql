-- Where is the left stick?
select left_x, left_y, count(*) as n from steps group by left_x, left_y order by left_x, left_y
