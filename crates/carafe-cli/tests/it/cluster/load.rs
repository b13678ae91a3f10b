//! Publishers that publish at any node, and readers that move between the nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use carafe_client::{Control, EventSource, Publish, Publisher};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::nodes::Nodes;
use super::oracle::{Oracle, PLAIN, Reading};

/// How long a request may take before the client turns to another node.
const REQUEST: Duration = Duration::from_secs(5);

/// How long nothing may be delivered, and how long all readers may take to receive the last
/// events.
const PATIENCE: Duration = Duration::from_secs(120);

/// Every so many events, a publisher repeats the key of an event that was acknowledged.
const REPEATS: u32 = 10;

/// How many events of each topic were acknowledged.
type Counts = Arc<Vec<(String, u64)>>;

/// Publishers and readers at work.
pub(crate) struct Load {
    pub(crate) oracle: Arc<Oracle>,
    stop: Arc<AtomicBool>,
    publishers: JoinSet<(String, u64)>,
    readers: JoinSet<()>,
    finish: watch::Sender<Option<Counts>>,
}

impl Load {
    /// Starts this many publishers and readers, with random numbers from the seed.
    pub(crate) fn start(nodes: &Nodes, publishers: usize, readers: usize, seed: u64) -> Self {
        let (oracle, stop) = (Arc::new(Oracle::new()), Arc::new(AtomicBool::new(false)));
        let (finish, finished) = watch::channel(None);
        let urls: Arc<[String]> = nodes.urls().into();
        let mut random = StdRng::seed_from_u64(seed);
        let publishers = (0..publishers).map(|number| {
            let publisher = Publishing {
                // Keys hide what is stored twice: some publishers have none.
                topic: match number % 4 {
                    3 => format!("{PLAIN}{number}"),
                    _ => format!("publisher/{number}"),
                },
                nodes: urls.iter().map(publisher).collect(),
                oracle: Arc::clone(&oracle),
                random: StdRng::seed_from_u64(random.random()),
            };
            publisher.run(Arc::clone(&stop))
        });
        let publishers = publishers.collect();
        let readers = (0..readers).map(|_| {
            let random = StdRng::seed_from_u64(random.random());
            read(Arc::clone(&urls), Arc::clone(&oracle), finished.clone(), random)
        });
        let readers = readers.collect();
        Self { oracle, stop, publishers, readers, finish }
    }

    /// Waits until this many more events were delivered.
    pub(crate) async fn deliver(&self, events: u64) {
        let mut delivered = self.oracle.deliveries();
        let (until, mut progress) = (delivered + events, Instant::now());
        while delivered < until {
            sleep(Duration::from_millis(10)).await;
            let now = self.oracle.deliveries();
            if std::mem::replace(&mut delivered, now) != now {
                progress = Instant::now();
            }
            assert!(progress.elapsed() < PATIENCE, "{now} of {until} events were delivered");
        }
    }

    /// Stops publishing, and waits until each reader has received every acknowledged event.
    pub(crate) async fn finish(mut self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let counts: Vec<_> = std::mem::take(&mut self.publishers).join_all().await;
        let acknowledged: u64 = counts.iter().map(|(_, count)| count).sum();
        self.finish.send(Some(Arc::new(counts))).unwrap();
        let readers = self.readers.len();
        let all = timeout(PATIENCE, std::mem::take(&mut self.readers).join_all()).await;
        assert!(all.is_ok(), "not all readers received all events within {PATIENCE:?}");
        println!(
            "{what}: {acknowledged} events acknowledged, {} received by {readers} readers; 0 lost, \
             0 doubled, 0 out of order",
            self.oracle.deliveries()
        );
    }
}

fn publisher(url: &String) -> Publisher {
    Publisher::new(url).without_retry().with_timeout(REQUEST)
}

/// Publishes 1, 2, 3 and so on to its topic: each until it is acknowledged, by a key, or if the
/// topic is plain only once, without a key.
struct Publishing {
    topic: String,
    nodes: Vec<Publisher>,
    oracle: Arc<Oracle>,
    random: StdRng,
}

impl Publishing {
    /// Answers how many events were acknowledged.
    async fn run(mut self, stop: Arc<AtomicBool>) -> (String, u64) {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            if self.topic.starts_with(PLAIN) {
                self.publish_once(count).await;
                continue;
            }
            self.publish(count).await;
            if self.random.random_ratio(1, REPEATS) {
                let again = self.random.random_range(1..=count);
                self.publish(again).await;
            }
        }
        (self.topic, count)
    }

    /// What was not acknowledged may have been stored or not.
    async fn publish_once(&mut self, number: u64) {
        let event = Publish::to(&self.topic, number.to_string());
        self.attempt(number, &event).await;
    }

    /// At another node after each failure: the key keeps the event from being there twice.
    async fn publish(&mut self, number: u64) {
        let event = Publish::to(&self.topic, number.to_string()).with_key(number.to_string());
        while !self.attempt(number, &event).await {}
    }

    /// Publishes at any node, and answers whether that was acknowledged.
    async fn attempt(&mut self, number: u64, event: &Publish) -> bool {
        let node = self.random.random_range(0..self.nodes.len());
        let Ok(Ok(id)) = timeout(REQUEST, self.nodes[node].publish(event)).await else {
            sleep(Duration::from_millis(20)).await;
            return false;
        };
        self.oracle.acknowledged(&self.topic, number, &id);
        true
    }
}

/// Reads everything, for a while from each node, until it has what was acknowledged.
async fn read(
    urls: Arc<[String]>,
    oracle: Arc<Oracle>,
    mut finished: watch::Receiver<Option<Counts>>,
    mut random: StdRng,
) {
    let (mut reading, mut id) = (Reading::default(), String::from("earliest"));
    loop {
        let url = format!("{}/events?envelope=json", urls[random.random_range(0..urls.len())]);
        let options = EventSource::options(url).last_event_id(&*id);
        let options = options.retry(Duration::from_millis(50)).on_control(|control| {
            assert!(!matches!(control, Control::Gap(_)), "nothing is missing: {control:?}");
        });
        let mut events = options.connect();
        let stay = sleep(Duration::from_millis(random.random_range(20..1000)));
        tokio::pin!(stay);
        loop {
            let counts = finished.borrow_and_update().clone();
            if counts.is_some_and(|counts| oracle.is_complete(&reading, &counts)) {
                return;
            }
            tokio::select! {
                Some(Ok(event)) = events.next() => oracle.delivered(&mut reading, &event),
                () = &mut stay => break,
                Ok(()) = finished.changed() => {}
            }
        }
        events.last_event_id().clone_into(&mut id);
    }
}
