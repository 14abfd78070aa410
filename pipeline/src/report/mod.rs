//! The report and the episode player: self-contained HTML.
