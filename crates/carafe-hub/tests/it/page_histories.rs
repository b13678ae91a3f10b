//! Pages while their history is written and erased, against the model.

use carafe_hub::{Page, PageLimit, PageReader, Start};
use carafe_log::MemoryLimits;
use futures_util::FutureExt;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::account::Account;
use crate::fixture::{Rig, after, at_once};
use crate::model::{Model, Wish};
use crate::script::{self, Draft, From};

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<Draft>),
    EraseOne(Index),
    /// Reads, if a page is not complete yet.
    Read,
    /// Takes the page, and requests the next one.
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(script::draft(), 1..4).prop_map(Step::Publish),
        2 => any::<Index>().prop_map(Step::EraseOne),
        4 => Just(Step::Read),
        4 => Just(Step::Finish),
    ]
}

/// All but snapshots, of which only the first page is part of a stream, and lost positions, whose
/// gap may be one with that of an erasure.
fn from() -> impl Strategy<Value = From> {
    let walked = |from: &From| !matches!(from, From::Latest | From::Last(_) | From::Ahead(_));
    script::from().prop_filter("a snapshot", walked)
}

/// For any interleaving of publishes, erasures and reads.
#[test]
fn the_pages_of_a_reader_have_each_event_once_in_order_or_a_gap() {
    let before = prop::collection::vec(script::draft(), 0..30);
    let steps = prop::collection::vec(step(), 0..60);
    let all = (script::limits(), before, (script::ask(), from(), 1..6_usize), steps);
    script::check(&all, |((.., limits), before, (ask, from, events), steps)| {
        let rig = Rig::new(MemoryLimits::default(), limits);
        let mut model = Model::new(rig.span().start);
        let (wish, mut published) = (ask.wish(), 0);
        let mut publish = |model: &mut Model, drafts: &[Draft]| {
            published += drafts.len();
            let numbered = drafts.iter().enumerate();
            let batch = numbered.map(|(at, draft)| draft.publication(published + at)).collect();
            model.publish(&rig, batch);
        };
        before.chunks(3).for_each(|drafts| publish(&mut model, drafts));
        if wish.refusal().is_some() {
            return;
        }
        let mut reader = Walker::new(&rig, &model, wish, from.start(&model), events);
        for step in steps {
            match step {
                Step::Publish(drafts) => publish(&mut model, &drafts),
                Step::EraseOne(at) => drop(model.erase_one(&rig, at)),
                Step::Read => reader.read(),
                Step::Finish => _ = reader.finish(&model),
            }
        }
        while !reader.finish(&model).is_up_to_date {}
    });
}

/// Reads one page after the other.
struct Walker<'a> {
    rig: &'a Rig,
    account: Account,
    limit: PageLimit,
    /// The page that is being read.
    page: Option<PageReader>,
}

impl<'a> Walker<'a> {
    fn new(rig: &'a Rig, model: &Model, wish: Wish, start: Start, events: usize) -> Self {
        let account = Account::open(model, rig.span(), wish, None, &start).by_pages();
        let limit = PageLimit { events, ..PageLimit::default() };
        let mut walker = Self { rig, account, limit, page: None };
        walker.open(start);
        walker
    }

    fn open(&mut self, start: Start) {
        let request = script::request(self.account.wish(), start);
        self.page = Some(at_once(self.rig.hub.read_page(request, self.limit)).unwrap());
    }

    fn read(&mut self) {
        self.page.iter_mut().for_each(|page| _ = page.wait().now_or_never());
    }

    fn finish(&mut self, model: &Model) -> Page {
        let page = at_once(self.page.take().unwrap().finish()).unwrap();
        assert!(page.events.len() <= self.limit.events);
        self.account.receive_page(model, self.rig.span(), page.clone());
        self.open(after(page.next));
        page
    }
}
