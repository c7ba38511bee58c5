/* Proposals, queries and what is like them, of servers and of clients, in each of the four ways: waited for, called back,
 * queued, and as a handle. */
#include "internal.h"

#include "_cgo_export.h"

static bool proposes(enum oar_op op) {
    switch (op) {
    case OAR_OP_QUERY:
    case OAR_OP_BARRIER:
    case OAR_OP_PLAN:
    case OAR_OP_MEMBERS: return false;
    default: return true;
    }
}

/* Puts a chain of calls at the door, the newest first, and, if nobody is there who would, has Go empty it. */
static void enter_door(struct oar_door *door, enum oar_type type, uintptr_t go, struct oar_call_object *newest,
                       struct oar_call_object *oldest) {
    struct oar_call_object *head = atomic_load_explicit(&door->pending, memory_order_relaxed);
    do {
        oldest->next = head;
    } while (!atomic_compare_exchange_weak(&door->pending, &head, newest));
    if (head != NULL) return;
    if (type == OAR_CLIENT) {
        oargo_client_empty(go, door);
    } else {
        oargo_server_empty(go, door);
    }
}

/* How many calls are held back at most. */
enum { HELD_MAX = 1024 };

static void let_in(struct oar_thread *t, struct oar_door *door, enum oar_type type, uintptr_t go) {
    struct oar_call_object *newest = t->held, *oldest = t->held_first;
    t->held = t->held_first = NULL;
    t->held_count = 0;
    if (newest != NULL) enter_door(door, type, go, newest, oldest);
}

void oar_door_hold(const struct oar_door *door) {
    struct oar_thread *t = oar_thread_mine();
    if (t != NULL) t->holding = door;
}

void oar_door_release(struct oar_door *door, enum oar_type type, uintptr_t go) {
    struct oar_thread *t = oar_thread_mine();
    if (t == NULL || t->holding != door) return;
    t->holding = NULL;
    let_in(t, door, type, go);
}

static void arrive(struct oar_door *door, enum oar_type type, uintptr_t go, struct oar_call_object *call) {
    struct oar_thread *t = oar_thread_mine();
    if (t == NULL || t->holding != door) {
        enter_door(door, type, go, call, call);
        return;
    }
    call->next = t->held;
    t->held = call;
    if (t->held_first == NULL) t->held_first = call;
    if (++t->held_count == HELD_MAX) let_in(t, door, type, go);
}

/* Hands the call in. If that fails the call will not complete, and both references are the caller's. */
static oar_status submit(void *object, enum oar_type type, const struct oar_request *request, struct oar_call_object *call) {
    call->request = *request;
    call->request.body = call->body;
    call->proposes = proposes(request->op);
    if (type == OAR_CLIENT) {
        struct oar_client_object *c = object;
        call->client = c->go;
        arrive(&c->door, type, c->go, call);
        return OAR_OK;
    }
    struct oar_server_object *s = object;
    switch (atomic_load(&s->state)) {
    case OAR_OPENED: return oar_failed(OAR_ERR_ORDER, "the server was not started (oar_server_start)");
    case OAR_CLOSED_ONE: return oar_failed(OAR_ERR_CLOSED, "the server is closed");
    default: arrive(&s->door, type, s->go, call); return OAR_OK;
    }
}

static void forget(struct oar_call_object *call) {
    oar_call_unref(call);
    oar_call_unref(call);
}

/* A call, or NULL with *status set. */
static struct oar_call_object *begin(const struct oar_request *request, enum oar_call_way way, oar_status *status) {
    struct oar_call_object *call = oar_call_new(way, request->body, request->body_len);
    *status = call == NULL ? oar_thread_mine()->detail.status : OAR_OK;
    return call;
}

oar_status oar_request_wait(const void *handle, enum oar_type type, const struct oar_request *request, int64_t timeout,
                            void **result, size_t *result_len) {
    OAR_TRY(oar_answer_place(result, result_len));
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    struct oar_request waited = *request;
    waited.timeout = 0; /* the call's own timeout is the one that counts */
    oar_status status;
    void *object = oar_handle_enter(handle, type);
    if (object == NULL) return OAR_ERR_HANDLE;
    if (timeout == 0) {
        oar_handle_leave(handle);
        return oar_failed_by(OAR_ERR_NOT_SENT, OAR_ERR_TIMEOUT, "a timeout of 0 leaves no time to send anything");
    }
    struct oar_call_object *call = begin(&waited, OAR_WAITED, &status);
    if (call != NULL && (status = submit(object, type, &waited, call)) != OAR_OK) {
        forget(call);
    } else if (call != NULL) {
        status = oar_call_finish(call, timeout, result, result_len);
    }
    oar_handle_leave(handle);
    return status;
}

oar_status oar_request_called_back(const void *handle, enum oar_type type, const struct oar_request *request,
                                   oar_completion_callback callback, void *user_data) {
    if (callback == NULL) return oar_failed(OAR_ERR_ARGUMENT, "callback is NULL");
    void *object = oar_handle_enter(handle, type);
    if (object == NULL) return OAR_ERR_HANDLE;
    oar_status status;
    struct oar_call_object *call = begin(request, OAR_CALLED_BACK, &status);
    if (call != NULL) {
        call->callback = callback;
        call->user_data = user_data;
        status = submit(object, type, request, call);
        oar_call_unref(call);
        if (status != OAR_OK) oar_call_unref(call);
    }
    oar_handle_leave(handle);
    return status;
}

oar_status oar_request_queued(const void *handle, enum oar_type type, const struct oar_request *request, oar_queue *queue,
                              uint64_t tag) {
    void *object = oar_handle_enter(handle, type);
    if (object == NULL) return OAR_ERR_HANDLE;
    oar_status status;
    struct oar_call_object *call = begin(request, OAR_QUEUED, &status);
    if (call != NULL) {
        call->completion.tag = tag;
        if ((status = oar_queue_expect(queue, call)) == OAR_OK && (status = submit(object, type, request, call)) != OAR_OK)
            oar_queue_unexpect(call);
        oar_call_unref(call);
        if (status != OAR_OK) oar_call_unref(call);
    }
    oar_handle_leave(handle);
    return status;
}

oar_status oar_request_start(const void *handle, enum oar_type type, const struct oar_request *request, oar_call **out) {
    if (out == NULL) return oar_failed(OAR_ERR_ARGUMENT, "call is NULL");
    *out = NULL;
    OAR_TRY(oar_may_wait()); /* a call that a callback could not wait for is not begun in one */
    void *object = oar_handle_enter(handle, type);
    if (object == NULL) return OAR_ERR_HANDLE;
    oar_status status;
    struct oar_call_object *call = begin(request, OAR_WAITED, &status);
    if (call != NULL) {
        void *h = oar_handle_new(OAR_CALL, call);
        status = h == NULL ? OAR_ERR_NO_MEMORY : submit(object, type, request, call);
        if (status == OAR_OK) {
            *out = h;
        } else {
            if (h != NULL) (void)oar_handle_end(h, OAR_CALL);
            forget(call);
        }
    }
    oar_handle_leave(handle);
    return status;
}

/* ---- Options ---- */

struct oar_request oar_request_plain(enum oar_op op, uint64_t group) {
    struct oar_request r;
    memset(&r, 0, sizeof r);
    r.op = op;
    r.group = group == 0 ? OAR_GROUP_DEFAULT : group;
    return r;
}

static oar_status propose_request(struct oar_request *r, const oar_propose_options *options, const void *command, size_t len) {
    oar_propose_options o;
    *r = oar_request_plain(OAR_OP_PROPOSE, 0);
    r->body = command;
    r->body_len = len;
    if (options == NULL) return OAR_OK;
    OAR_TRY(oar_take(&o, sizeof o, options, "oar_propose_options", sizeof o));
    if (o.flags != 0) return oar_failed(OAR_ERR_FLAGS, "flags of oar_propose_options is %#x, must be 0", o.flags);
    OAR_TRY(oar_check_timeout(o.timeout));
    if (o.group != 0) r->group = o.group;
    r->session = o.session;
    r->sequence = o.sequence;
    r->floor = o.floor;
    r->timeout = o.timeout > 0 ? o.timeout : 0;
    if (o.session == 0 && (o.sequence != 0 || o.floor != 0))
        return oar_failed(OAR_ERR_ARGUMENT, "a sequence or floor without a session");
    if (o.session != 0 && (o.sequence == 0 || o.floor > o.sequence))
        return oar_failed(OAR_ERR_ARGUMENT, "sequence is %llu and floor %llu: sequences begin at 1, and the floor is not above",
                          (unsigned long long)o.sequence, (unsigned long long)o.floor);
    return OAR_OK;
}

static oar_status check_consistency(const oar_query_options *o) {
    if (o->consistency > OAR_BOUNDED)
        return oar_failed(OAR_ERR_UNSUPPORTED, "consistency %u is not in this version (OAR_LINEARIZABLE, OAR_STALE, OAR_LEASE, OAR_BOUNDED)",
                          o->consistency);
    if (o->max_age < 0) return oar_failed(OAR_ERR_ARGUMENT, "max_age is %lld, and must not be negative", (long long)o->max_age);
    bool bounds = o->max_age != 0 || o->min_index != 0;
    if (o->consistency != OAR_BOUNDED && bounds) return oar_failed(OAR_ERR_ARGUMENT, "max_age or min_index without OAR_BOUNDED");
    if (o->consistency == OAR_BOUNDED && !bounds)
        return oar_failed(OAR_ERR_ARGUMENT, "OAR_BOUNDED by neither max_age nor min_index; OAR_STALE is without a bound");
    return OAR_OK;
}

static oar_status query_request(struct oar_request *r, const oar_query_options *options, const void *query, size_t len) {
    oar_query_options o;
    *r = oar_request_plain(OAR_OP_QUERY, 0);
    r->body = query;
    r->body_len = len;
    if (options == NULL) return OAR_OK;
    OAR_TRY(oar_take(&o, sizeof o, options, "oar_query_options", OAR_UP_TO(oar_query_options, max_age)));
    if (o.flags != 0 || o.reserved != 0) return oar_failed(OAR_ERR_FLAGS, "flags and reserved of oar_query_options must be 0");
    OAR_TRY(oar_check_timeout(o.timeout));
    if (o.group != 0) r->group = o.group;
    r->timeout = o.timeout > 0 ? o.timeout : 0;
    r->consistency = o.consistency;
    r->max_age = o.max_age;
    r->min_index = o.min_index;
    return check_consistency(&o);
}

static oar_status of_client(const struct oar_request *r, uint64_t group) {
    if (group != 0) return oar_failed(OAR_ERR_ARGUMENT, "a client has one group, which oar_client_open is told");
    if (r->session != 0) return oar_failed(OAR_ERR_ARGUMENT, "a client has a session of its own");
    return OAR_OK;
}

static oar_status client_propose_request(struct oar_request *r, const oar_propose_options *o, const void *command, size_t len) {
    OAR_TRY(propose_request(r, o, command, len));
    return of_client(r, o == NULL ? 0 : o->group);
}

static oar_status client_query_request(struct oar_request *r, const oar_query_options *o, const void *query, size_t len) {
    OAR_TRY(query_request(r, o, query, len));
    return of_client(r, o == NULL ? 0 : o->group);
}

/* ---- Servers ---- */

oar_status oar_propose(oar_server *server, const oar_propose_options *options, const void *command, size_t command_len,
                       int64_t timeout, void **result, size_t *result_len) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(propose_request(&r, options, command, command_len));
    return oar_request_wait(server, OAR_SERVER, &r, timeout, result, result_len);
}

oar_status oar_propose_async(oar_server *server, const oar_propose_options *options, const void *command,
                             size_t command_len, oar_completion_callback callback, void *user_data) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(propose_request(&r, options, command, command_len));
    return oar_request_called_back(server, OAR_SERVER, &r, callback, user_data);
}

oar_status oar_propose_queued(oar_server *server, const oar_propose_options *options, const void *command,
                              size_t command_len, oar_queue *queue, uint64_t tag) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(propose_request(&r, options, command, command_len));
    return oar_request_queued(server, OAR_SERVER, &r, queue, tag);
}

oar_status oar_propose_start(oar_server *server, const oar_propose_options *options, const void *command,
                             size_t command_len, oar_call **call) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(propose_request(&r, options, command, command_len));
    return oar_request_start(server, OAR_SERVER, &r, call);
}

oar_status oar_query(oar_server *server, const oar_query_options *options, const void *query, size_t query_len,
                     int64_t timeout, void **answer, size_t *answer_len) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(query_request(&r, options, query, query_len));
    return oar_request_wait(server, OAR_SERVER, &r, timeout, answer, answer_len);
}

oar_status oar_query_async(oar_server *server, const oar_query_options *options, const void *query, size_t query_len,
                           oar_completion_callback callback, void *user_data) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(query_request(&r, options, query, query_len));
    return oar_request_called_back(server, OAR_SERVER, &r, callback, user_data);
}

oar_status oar_query_queued(oar_server *server, const oar_query_options *options, const void *query, size_t query_len,
                            oar_queue *queue, uint64_t tag) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(query_request(&r, options, query, query_len));
    return oar_request_queued(server, OAR_SERVER, &r, queue, tag);
}

oar_status oar_query_start(oar_server *server, const oar_query_options *options, const void *query, size_t query_len,
                           oar_call **call) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(query_request(&r, options, query, query_len));
    return oar_request_start(server, OAR_SERVER, &r, call);
}

oar_status oar_barrier(oar_server *server, uint64_t group, int64_t timeout) {
    OAR_ENTER();
    struct oar_request r = oar_request_plain(OAR_OP_BARRIER, group);
    return oar_request_wait(server, OAR_SERVER, &r, timeout, NULL, NULL);
}

oar_status oar_barrier_at(oar_server *server, const oar_query_options *options, int64_t timeout) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(query_request(&r, options, NULL, 0));
    r.op = OAR_OP_BARRIER;
    return oar_request_wait(server, OAR_SERVER, &r, timeout, NULL, NULL);
}

oar_status oar_session_open(oar_server *server, uint64_t group, int64_t timeout, uint64_t *session) {
    OAR_ENTER();
    if (session == NULL) return oar_failed(OAR_ERR_ARGUMENT, "session is NULL");
    *session = 0;
    struct oar_request r = oar_request_plain(OAR_OP_SESSION_OPEN, group);
    void *result = NULL;
    size_t result_len = 0;
    OAR_TRY(oar_request_wait(server, OAR_SERVER, &r, timeout, &result, &result_len));
    oar_status status = result_len == sizeof *session ? OAR_OK : oar_failed(OAR_ERR_INTERNAL, "a session id of %zu bytes", result_len);
    if (status == OAR_OK) memcpy(session, result, sizeof *session);
    free(result);
    return status;
}

static oar_status session(oar_server *server, enum oar_op op, uint64_t group, uint64_t session, int64_t timeout) {
    if (session == 0) return oar_failed(OAR_ERR_ARGUMENT, "0 is no session");
    struct oar_request r = oar_request_plain(op, group);
    r.session = session;
    return oar_request_wait(server, OAR_SERVER, &r, timeout, NULL, NULL);
}

oar_status oar_session_keep(oar_server *server, uint64_t group, uint64_t id, int64_t timeout) {
    OAR_ENTER();
    return session(server, OAR_OP_SESSION_KEEP, group, id, timeout);
}

oar_status oar_session_close(oar_server *server, uint64_t group, uint64_t id, int64_t timeout) {
    OAR_ENTER();
    return session(server, OAR_OP_SESSION_CLOSE, group, id, timeout);
}

/* ---- Clients ---- */

oar_status oar_client_propose(oar_client *client, const oar_propose_options *options, const void *command,
                              size_t command_len, int64_t timeout, void **result, size_t *result_len) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(client_propose_request(&r, options, command, command_len));
    return oar_request_wait(client, OAR_CLIENT, &r, timeout, result, result_len);
}

oar_status oar_client_propose_async(oar_client *client, const oar_propose_options *options, const void *command,
                                    size_t command_len, oar_completion_callback callback, void *user_data) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(client_propose_request(&r, options, command, command_len));
    return oar_request_called_back(client, OAR_CLIENT, &r, callback, user_data);
}

oar_status oar_client_propose_queued(oar_client *client, const oar_propose_options *options, const void *command,
                                     size_t command_len, oar_queue *queue, uint64_t tag) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(client_propose_request(&r, options, command, command_len));
    return oar_request_queued(client, OAR_CLIENT, &r, queue, tag);
}

oar_status oar_client_propose_start(oar_client *client, const oar_propose_options *options, const void *command,
                                    size_t command_len, oar_call **call) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(client_propose_request(&r, options, command, command_len));
    return oar_request_start(client, OAR_CLIENT, &r, call);
}

oar_status oar_client_query(oar_client *client, const oar_query_options *options, const void *query, size_t query_len,
                            int64_t timeout, void **answer, size_t *answer_len) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(client_query_request(&r, options, query, query_len));
    return oar_request_wait(client, OAR_CLIENT, &r, timeout, answer, answer_len);
}

oar_status oar_client_query_async(oar_client *client, const oar_query_options *options, const void *query,
                                  size_t query_len, oar_completion_callback callback, void *user_data) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(client_query_request(&r, options, query, query_len));
    return oar_request_called_back(client, OAR_CLIENT, &r, callback, user_data);
}

oar_status oar_client_query_queued(oar_client *client, const oar_query_options *options, const void *query,
                                   size_t query_len, oar_queue *queue, uint64_t tag) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(client_query_request(&r, options, query, query_len));
    return oar_request_queued(client, OAR_CLIENT, &r, queue, tag);
}

oar_status oar_client_query_start(oar_client *client, const oar_query_options *options, const void *query,
                                  size_t query_len, oar_call **call) {
    struct oar_request r;
    OAR_ENTER();
    OAR_TRY(client_query_request(&r, options, query, query_len));
    return oar_request_start(client, OAR_CLIENT, &r, call);
}

oar_status oar_client_barrier(oar_client *client, int64_t timeout) {
    OAR_ENTER();
    struct oar_request r = oar_request_plain(OAR_OP_BARRIER, 0);
    return oar_request_wait(client, OAR_CLIENT, &r, timeout, NULL, NULL);
}
