//! The sender on real Postgres and Redis, with the mock ERP, and a scripted member of the lane in the place
//! of `message-svc`.

mod member;
mod stage;
mod troubles;

mod audience;
mod backlog;
mod batches;
mod breaker;
mod cost;
mod decisions;
mod limits;
mod losses;
mod rounds;
mod walks;
mod wishes;
