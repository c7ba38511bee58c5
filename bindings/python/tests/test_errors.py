"""Exceptions: what a caller can ask them."""

from __future__ import annotations

import builtins
import pickle

import pytest

import oarlock
from oarlock import Status
from oarlock._errors import Failure, error_of
from oarlock._status import CLASS_BITS


def made(status, cause=None, **more):
    return error_of(Failure(status, status if cause is None else cause, CLASS_BITS.get(status, 0), "the text", **more))


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_an_exception_says_what_its_status_says(status):
    error = made(status)
    assert type(error) is not oarlock.Error
    assert (error.code, error.cause, error.name, str(error)) == (status, status, f"OAR_{status.name}", "the text")
    assert error.retryable == bool(CLASS_BITS.get(status, 0) & 1)
    assert error.maybe_committed == bool(CLASS_BITS.get(status, 0) & 2)
    assert error.fatal == bool(CLASS_BITS.get(status, 0) & 8)
    assert error.applied == bool(CLASS_BITS.get(status, 0) & 16)


def test_a_status_of_a_newer_library_is_an_error_that_trusts_the_librarys_bits():
    error = error_of(Failure(999, 999, 2, "new"))
    assert (type(error), error.code, error.name, error.maybe_committed) == (oarlock.Error, 999, "status 999", True)


def test_a_proposal_that_timed_out_is_unknown_and_a_timeout_of_both_kinds():
    error = made(Status.ERR_UNKNOWN, Status.ERR_TIMEOUT)
    assert isinstance(error, oarlock.UnknownOutcome) and isinstance(error, oarlock.TimeoutError)
    assert isinstance(error, builtins.TimeoutError) and error.maybe_committed and not error.retryable
    error = made(Status.ERR_NOT_SENT, Status.ERR_TIMEOUT)
    assert isinstance(error, oarlock.NotSent) and isinstance(error, builtins.TimeoutError) and not error.maybe_committed


def test_a_stopped_replica_says_whether_it_was_the_machine():
    assert type(made(Status.ERR_FENCED, Status.ERR_STORAGE)) is oarlock.Fenced
    assert type(made(Status.ERR_FENCED, Status.ERR_STATE_MACHINE)) is oarlock.StateMachineError


def test_a_redirect_names_the_leader():
    error = made(Status.ERR_NOT_LEADER, leader=3, leader_address="127.0.0.1:7103")
    assert (error.leader, error.leader_address) == (3, "127.0.0.1:7103")


def test_exceptions_can_be_pickled():
    error = pickle.loads(pickle.dumps(made(Status.ERR_UNKNOWN, Status.ERR_TIMEOUT, leader=2, leader_address="a:1", system_error=4)))
    assert type(error) is oarlock.ProposalTimeout
    assert (error.code, error.cause, error.leader, error.leader_address, error.system_error, str(error)) == (
        Status.ERR_UNKNOWN, Status.ERR_TIMEOUT, 2, "a:1", 4, "the text",
    )  # fmt: skip


def test_exceptions_that_a_user_makes_have_their_class_status():
    error = oarlock.QueryError("no such key")
    assert (error.code, str(error), error.maybe_committed) == (Status.ERR_QUERY, "no such key", False)
