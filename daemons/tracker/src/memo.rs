//! A cache of answers that expire, each fetched once however many ask.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

/// Answers by key. Of all that ask for one key at once, one fetches and the rest wait for it; if
/// the one goes away, another takes over. The oldest answers go when there are too many.
pub(crate) struct Memo<K, V> {
    state: Mutex<State<K, V>>,
    entries_max: usize,
    weight_max: usize,
}

/// An answer, how long to believe it, and what it weighs.
#[derive(Debug, Clone)]
pub(crate) struct Fetched<V> {
    pub(crate) value: V,
    pub(crate) ttl: Duration,
    pub(crate) weight: usize,
}

struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Keys with their entry's number, oldest first; those of replaced entries too.
    order: VecDeque<(K, u64)>,
    weight: usize,
    next_number: u64,
}

struct Entry<V> {
    number: u64,
    /// Zero until the answer is there.
    weight: usize,
    answer: Arc<OnceCell<Answer<V>>>,
}

#[derive(Debug)]
struct Answer<V> {
    value: V,
    weight: usize,
    /// `None` is later than the clock can tell.
    expires: Option<Instant>,
}

impl<K: Clone + Eq + Hash, V: Clone> Memo<K, V> {
    /// Keeps at most `entries_max` answers that weigh at most `weight_max` together.
    pub(crate) fn new(entries_max: usize, weight_max: usize) -> Self {
        let state =
            State { entries: HashMap::new(), order: VecDeque::new(), weight: 0, next_number: 0 };
        Self { state: Mutex::new(state), entries_max, weight_max }
    }

    /// The answer for `key`, from `fetch` if there is none or it has expired.
    pub(crate) async fn get<F, Fut>(&self, key: &K, fetch: F) -> V
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Fetched<V>>,
    {
        let (number, cell) = self.entry(key);
        let answer = cell
            .get_or_init(|| async {
                let Fetched { value, ttl, weight } = fetch().await;
                Answer { value, weight, expires: Instant::now().checked_add(ttl) }
            })
            .await;
        self.weigh(key, number, answer.weight);
        answer.value.clone()
    }

    /// Forgets the answer for `key` if there is one and it is `outdated`; who asks next fetches.
    pub(crate) fn forget_if(&self, key: &K, outdated: impl FnOnce(&V) -> bool) {
        let mut state = self.lock();
        let answer = state.entries.get(key).and_then(|entry| entry.answer.get());
        if answer.is_some_and(|answer| outdated(&answer.value)) {
            state.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of `key`: the present one unless it has expired.
    fn entry(&self, key: &K) -> (u64, Arc<OnceCell<Answer<V>>>) {
        let mut state = self.lock();
        if let Some(entry) = state.entries.get(key) {
            let expired = entry.answer.get().is_some_and(Answer::has_expired);
            if !expired {
                return (entry.number, Arc::clone(&entry.answer));
            }
            state.remove(key);
        }
        let number = state.next_number;
        state.next_number += 1;
        let answer = Arc::new(OnceCell::new());
        let entry = Entry { number, weight: 0, answer: Arc::clone(&answer) };
        state.entries.insert(key.clone(), entry);
        state.order.push_back((key.clone(), number));
        state.shrink(self.entries_max, self.weight_max);
        (number, answer)
    }

    /// Adds the weight of an answer that has come, once, if it is still the entry of its key.
    fn weigh(&self, key: &K, number: u64, weight: usize) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else { return };
        if entry.number == number && entry.weight != weight {
            entry.weight = weight;
            state.weight = state.weight.saturating_add(weight);
            state.shrink(self.entries_max, self.weight_max);
        }
    }
}

impl<K: Clone + Eq + Hash, V> State<K, V> {
    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.weight -= entry.weight;
        }
    }

    /// Drops the oldest entries until the rest is within bounds, and with them the keys of
    /// replaced entries, of which at most as many may wait as there are entries.
    fn shrink(&mut self, entries_max: usize, weight_max: usize) {
        while self.entries.len() > entries_max
            || self.weight > weight_max
            || self.order.len() > 2 * entries_max
        {
            let Some((key, number)) = self.order.pop_front() else { return };
            if self.entries.get(&key).is_some_and(|entry| entry.number == number) {
                self.remove(&key);
            }
        }
    }
}

impl<V> Answer<V> {
    fn has_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= Instant::now())
    }
}

impl<K, V> std::fmt::Debug for Memo<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memo").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn fetched(value: usize, ttl: Duration, weight: usize) -> Fetched<usize> {
        Fetched { value, ttl, weight }
    }

    #[tokio::test]
    async fn many_ask_and_one_fetches() {
        let memo = Memo::new(8, 8);
        let fetches = AtomicUsize::new(0);
        let ask = || {
            memo.get(&"k", || async {
                fetches.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                fetched(7, HOUR, 1)
            })
        };
        assert_eq!(tokio::join!(ask(), ask(), ask()), (7, 7, 7));
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn answers_expire_by_their_own_ttl() {
        let memo = Memo::new(8, 8);
        assert_eq!(memo.get(&1, || async { fetched(1, Duration::ZERO, 1) }).await, 1);
        assert_eq!(memo.get(&1, || async { fetched(2, HOUR, 1) }).await, 2);
        assert_eq!(memo.get(&1, || async { fetched(3, HOUR, 1) }).await, 2);
        assert_eq!(memo.lock().weight, 1);
    }

    #[tokio::test]
    async fn an_answer_may_be_believed_for_ever() {
        let memo = Memo::new(8, 8);
        assert_eq!(memo.get(&1, || async { fetched(1, Duration::MAX, 1) }).await, 1);
        assert_eq!(memo.get(&1, || async { fetched(2, HOUR, 1) }).await, 1);
    }

    #[tokio::test]
    async fn what_is_outdated_is_forgotten() {
        let memo = Memo::new(8, 8);
        memo.forget_if(&1, |_| true);
        assert_eq!(memo.get(&1, || async { fetched(1, HOUR, 3) }).await, 1);
        memo.forget_if(&1, |answer| *answer != 1);
        assert_eq!(memo.get(&1, || async { fetched(2, HOUR, 3) }).await, 1);
        memo.forget_if(&1, |answer| *answer == 1);
        assert_eq!(memo.lock().weight, 0);
        assert_eq!(memo.get(&1, || async { fetched(2, HOUR, 3) }).await, 2);
        assert_eq!(memo.lock().weight, 3);
    }

    #[tokio::test]
    async fn a_fetcher_that_goes_away_is_replaced() {
        let memo = Memo::<_, usize>::new(8, 8);
        let lost = memo.get(&1, std::future::pending);
        assert!(tokio::time::timeout(Duration::from_millis(1), lost).await.is_err());
        assert_eq!(memo.get(&1, || async { fetched(5, HOUR, 1) }).await, 5);
    }

    #[tokio::test]
    async fn it_is_bounded_by_number_and_weight() {
        let memo = Memo::new(4, 10);
        for key in 0..100 {
            memo.get(&key, || async { fetched(key, HOUR, 1) }).await;
            memo.get(&0, || async { fetched(0, Duration::ZERO, 1) }).await;
            let state = memo.lock();
            assert!(state.entries.len() <= 4 && state.order.len() <= 8);
            assert_eq!(state.weight, state.entries.values().map(|e| e.weight).sum::<usize>());
        }
        assert_eq!(memo.get(&99, || async { fetched(1, HOUR, 1) }).await, 99);
        memo.get(&1000, || async { fetched(1, HOUR, 9) }).await;
        memo.get(&1001, || async { fetched(1, HOUR, 11) }).await;
        assert_eq!(memo.lock().weight, 0);
    }
}
