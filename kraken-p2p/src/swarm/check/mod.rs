//! Plays a swarm: any order of events out of bytes, hostile ones among them, and after each of them
//! what must hold.
//!
//! It is compiled for tests and, with the feature `check`, for fuzz targets. `player` makes calls
//! of what `input` reads out of bytes, and tells them to a swarm. `model` is told the same, and in
//! `outputs` judges what comes of it; `compare` holds the swarm's getters against it, and `inside`
//! looks at what no getter shows. `finale` sees to it that downloads come to their end after that.

mod compare;
mod event;
mod finale;
mod input;
mod inside;
mod model;
mod outputs;
mod player;

use std::fmt::Debug;

use kraken_core::Time;

use self::input::Input;
use self::player::Player;

/// Plays what `data` stands for; panics at the first thing that should not be.
pub fn play(data: &[u8]) {
    play_with(data, &mut |_, _| {});
}

/// The same, and tells of every event before the swarm is told.
pub fn play_with(data: &[u8], trace: &mut dyn FnMut(Time, &dyn Debug)) {
    let mut input = Input::new(data);
    let mut player = Player::new(&mut input, trace);
    for _ in 0..MOVES_MAX {
        let Some(mut record) = input.record() else { break };
        player.take(&mut record);
    }
    player.finish();
}

/// Longer games find nothing that shorter ones do not, and take their time.
const MOVES_MAX: usize = 1000;
