-- The actions of one window.
-- compare: episode_id t left_x left_y right_x right_y pos_x pos_y pos_z
select * from steps where episode_id = 43210 and t between 100 and 131 order by t
