//! Any order of events, hostile ones among them.

use proptest::prelude::*;

use crate::swarm::check::{play, play_with};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_swarm_keeps_its_promises(
        moves in prop::collection::vec(any::<[u8; 6]>(), 1..200),
    ) {
        play(moves.as_flattened());
    }
}

/// Tells what happens in a game that failed: `KRAKEN_PLAY` is its bytes, as numbers with anything
/// between them, such as the lines above have them.
#[test]
fn a_game_can_be_looked_at() {
    let game = std::env::var("KRAKEN_PLAY").unwrap_or_default();
    let numbers = game.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse().ok());
    let game: Vec<u8> = numbers.collect();
    play_with(&game, &mut |now, what| println!("{:.9} {what:?}", now.as_secs_f64()));
}
