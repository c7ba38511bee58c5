/* Calls: what is under way between a caller and the library, and how its answer comes back: to a waiting thread, to a
 * callback, or to a queue. */
#include "internal.h"

#include <errno.h>

#include "_cgo_export.h"

atomic_uint oar_calls_under_way;

struct oar_call_object *oar_call_new(enum oar_call_way way, const void *body, size_t body_len) {
    if (body == NULL && body_len > 0) {
        oar_failed(OAR_ERR_ARGUMENT, "NULL with a length of %zu", body_len);
        return NULL;
    }
    size_t size = sizeof(struct oar_call_object) + body_len;
    struct oar_call_object *call = oar_alloc_raw(size);
    if (call == NULL) return NULL;
    memset(call, 0, sizeof *call);
    call->size = size;
    call->refs = 2;
    call->way = way;
    call->body_len = body_len;
    if (body_len > 0) memcpy(call->body, body, body_len);
    call->completion.struct_size = sizeof call->completion;
    if (way == OAR_WAITED) (void)sem_init(&call->done, 0, 0); /* fails only for values that are too large */
    atomic_fetch_add(&oar_calls_under_way, 1);
    return call;
}

void oar_call_unref(struct oar_call_object *call) {
    if (atomic_fetch_sub(&call->refs, 1) != 1) return;
    if (call->way == OAR_WAITED) (void)sem_destroy(&call->done);
    free((void *)(uintptr_t)call->completion.result);
    free((void *)(uintptr_t)call->completion.text);
    free((void *)(uintptr_t)call->completion.leader_address);
    atomic_fetch_sub(&oar_calls_under_way, 1);
    oar_release(call, call->size);
}

static char *copy(const char *text, size_t len) {
    if (text == NULL || len == 0) return NULL;
    return strndup(text, len); /* NULL: the status has a text of its own */
}

/* Completes a call with what its completion says; the result and the texts are still the library's. */
static void complete(struct oar_call_object *call, oar_completion *c) {
    if (call->way == OAR_CALLED_BACK) {
        oar_callback_enter();
        call->callback(call->user_data, c);
        free(oar_callback_leave());
        oar_call_unref(call);
        return;
    }
    call->completion = *c;
    if (call->way == OAR_QUEUED) {
        oar_queue_put(call->queue, call);
        return;
    }
    atomic_store(&call->completed, true);
    (void)sem_post(&call->done); /* cannot overflow: a call completes once */
    oar_call_unref(call);
}

void oar_call_succeed(struct oar_call_object *call, const void *result, size_t result_len, uint64_t index) {
    oar_completion c = call->completion;
    c.index = index;
    c.text = c.leader_address = "";
    c.result_len = result_len;
    c.result = result;
    if (call->way != OAR_CALLED_BACK) {
        c.text = c.leader_address = NULL;
        c.result = result_len == 0 ? NULL : malloc(result_len);
        if (result_len > 0 && c.result == NULL) { /* it was applied, but who asked cannot be told the result */
            c.result_len = 0;
            c.status = call->proposes ? OAR_ERR_UNKNOWN : OAR_ERR_NO_MEMORY;
            c.cause = OAR_ERR_NO_MEMORY;
            c.class_bits = oar_class_of(c.status, c.cause);
        } else if (result_len > 0) {
            memcpy((void *)(uintptr_t)c.result, result, result_len);
        }
    }
    complete(call, &c);
}

void oar_calls_succeed(const struct oar_answer *answers, size_t count, struct oar_door *door, enum oar_type type,
                       uintptr_t go) {
    oar_door_hold(door);
    for (size_t i = 0; i < count; i++) 
        oar_call_succeed(answers[i].call, answers[i].result, answers[i].result_len, answers[i].index);
    oar_door_release(door, type, go);
}

void oar_call_fail(struct oar_call_object *call, const struct oar_failure *f) {
    oar_completion c = call->completion;
    c.status = f->status;
    c.cause = f->cause;
    c.class_bits = oar_class_of(f->status, f->cause);
    c.leader = f->leader;
    c.system_error = f->system_error;
    c.index = f->index;
    char *text = copy(f->text, f->text_len), *address = copy(f->address, f->address_len);
    c.text = text;
    c.leader_address = address;
    bool ours = call->way == OAR_CALLED_BACK;
    if (ours && text == NULL) c.text = oar_status_text(c.status);
    if (ours && address == NULL) c.leader_address = "";
    complete(call, &c);
    if (ours) {
        free(text);
        free(address);
    }
}

oar_status oar_answer_place(void **result, size_t *result_len) {
    if (result != NULL) *result = NULL;
    if (result_len != NULL) *result_len = 0;
    return (result == NULL) == (result_len == NULL) ? OAR_OK : oar_failed(OAR_ERR_ARGUMENT, "one of the answer's two pointers is NULL");
}

bool oar_call_await(struct oar_call_object *call, const struct timespec *deadline, bool interruptible, bool *interrupted) {
    for (;;) {
        if (sem_clockwait(&call->done, CLOCK_MONOTONIC, deadline) == 0) return true;
        if (errno == EINTR && !interruptible) continue;
        *interrupted = errno == EINTR;
        return false;
    }
}

oar_status oar_call_answer(struct oar_call_object *call, void **result, size_t *result_len) {
    oar_completion *c = &call->completion;
    if (c->status != OAR_OK) {
        struct oar_failure f = {.status = c->status, .cause = c->cause, .text = c->text, .leader = c->leader,
                                .address = c->leader_address, .system_error = c->system_error};
        if (f.text != NULL) f.text_len = strlen(f.text);
        if (f.address != NULL) f.address_len = strlen(f.address);
        return oar_failed_with(&f);
    }
    if (result != NULL) {
        *result = (void *)(uintptr_t)c->result;
        *result_len = c->result_len;
        c->result = NULL;
    }
    return OAR_OK;
}

/* What the end of the time means for a call of a server, which goes on without its caller. */
static oar_status time_over(const struct oar_call_object *call) {
    if (!call->proposes) return oar_failed(OAR_ERR_TIMEOUT, "the time is over before the answer came");
    return oar_failed_by(OAR_ERR_UNKNOWN, OAR_ERR_TIMEOUT, "the time is over before the result came; what was asked for may "
                                                           "have been done, or may yet be");
}

oar_status oar_call_finish(struct oar_call_object *call, int64_t timeout, void **result, size_t *result_len) {
    struct timespec deadline = oar_deadline(timeout);
    bool interrupted = false;
    oar_status status;
    if (oar_call_await(call, &deadline, false, &interrupted)) {
        status = oar_call_answer(call, result, result_len);
    } else if (call->client != 0) {
        /* A client's call that is given up ends at once, and only it knows whether it was sent. */
        oargo_client_cancel(call->client, call, true);
        deadline = oar_deadline(-1);
        (void)oar_call_await(call, &deadline, false, &interrupted);
        status = oar_call_answer(call, result, result_len);
    } else {
        status = time_over(call);
    }
    oar_call_unref(call);
    return status;
}

/* ---- Handles of calls ---- */

/* Ends the waiting for a call whose answer nobody wants any more. */
static void give_up(struct oar_call_object *call) {
    if (atomic_load(&call->completed)) return;
    if (call->client != 0) {
        oargo_client_cancel(call->client, call, false); /* it ends at once, and says how */
    } else if (!atomic_exchange(&call->given_up, true)) {
        (void)sem_post(&call->done);
    }
}

/* How a call of a server ends that was given up. */
static oar_status given_up(const struct oar_call_object *call) {
    return oar_failed_by(call->proposes ? OAR_ERR_UNKNOWN : OAR_ERR_NOT_SENT, OAR_ERR_CANCELLED,
                         "the call was given up before its answer came");
}

oar_status oar_call_wait(oar_call *handle, int64_t timeout, void **result, size_t *result_len) {
    OAR_ENTER();
    OAR_TRY(oar_answer_place(result, result_len));
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    oar_status status;
    struct oar_call_object *call = oar_handle_enter(handle, OAR_CALL);
    if (call == NULL) return OAR_ERR_HANDLE;
    struct timespec deadline = oar_deadline(timeout);
    bool interrupted = false;
    if (!oar_call_await(call, &deadline, true, &interrupted)) {
        status = oar_failed_by(OAR_ERR_PENDING, interrupted ? OAR_ERR_INTERRUPTED : OAR_ERR_TIMEOUT,
                               "there is no answer yet; the call goes on");
    } else {
        if (!atomic_load(&call->completed)) {
            status = given_up(call);
        } else if (call->taken) {
            status = oar_failed(OAR_ERR_ORDER, "the answer of this call was handed out already");
        } else {
            call->taken = true; /* the next one sees it: the semaphore lets one in at a time */
            status = oar_call_answer(call, result, result_len);
        }
        (void)sem_post(&call->done);
    }
    oar_handle_leave(handle);
    return status;
}

oar_status oar_call_cancel(oar_call *handle) {
    OAR_ENTER();
    struct oar_call_object *call = oar_handle_enter(handle, OAR_CALL);
    if (call == NULL) return OAR_ERR_HANDLE;
    give_up(call);
    oar_handle_leave(handle);
    return OAR_OK;
}

oar_status oar_call_free(oar_call *handle) {
    OAR_ENTER();
    if (handle == NULL) return OAR_OK;
    struct oar_call_object *call = oar_handle_end_begin(handle, OAR_CALL);
    if (call == NULL) return OAR_ERR_HANDLE;
    give_up(call); /* so that those inside come out */
    oar_handle_end_finish(handle);
    oar_call_unref(call);
    return OAR_OK;
}
