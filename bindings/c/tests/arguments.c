/* Handles that are none, pointers that are NULL, timeouts and flags that cannot be: an error each, and nothing happens. */
#include "harness.h"

static struct machine machine;
static void never_called(void *user_data, const oar_completion *completion) {
    (void)user_data, (void)completion;
    fail_at(__FILE__, __LINE__, "a callback of a call that failed");
}

/* ---- Every function that takes a handle ---- */

typedef oar_status (*with_handle)(void *handle);

/* Where answers go: filled with what must be gone after a failure. */
static struct {
    void *result;
    size_t len;
    char *text;
    uint64_t session;
    oar_call *call;
} out;
#define ANSWER &out.result, &out.len

static oar_status c_set(void *h) { return oar_config_set(h, "log.kind", "memory"); }
static oar_status c_value(void *h) { return oar_config_value(h, "log.kind", &out.text); }
static oar_status c_validate(void *h) { return oar_config_validate(h); }
static oar_status c_members(void *h) { return oar_config_members(h, NULL, 0, &out.len); }
static oar_status c_dump(void *h) { return oar_config_dump(h, &out.text); }
static oar_status c_write(void *h) { return oar_config_write_file(h, "never"); }
static oar_status c_format(void *h) { return oar_server_format(h, 1); }
static oar_status c_open(void *h) {
    oar_server_options o;
    OAR_INIT(&o);
    o.machine = &machine_plain;
    return oar_server_open(h, 1, &o, (oar_server **)&out.result);
}
static oar_status c_free(void *h) { return oar_config_free(h); }
static oar_status c_joining(void *h) { return oar_server_format_joining(h, 1); }
static const with_handle of_config[] = {c_set, c_value, c_validate, c_members, c_dump, c_write, c_format, c_joining, c_open, c_free, NULL};

static oar_status s_start(void *h) { return oar_server_start(h); }
static oar_status s_ready(void *h) { return oar_server_wait_ready(h, 0); }
static oar_status s_stopped(void *h) { return oar_server_wait_stopped(h, 0); }
static oar_status s_close(void *h) { return oar_server_close(h); }
static oar_status s_free(void *h) { return oar_server_free(h); }
static oar_status s_info(void *h) {
    oar_group_info info;
    OAR_INIT(&info);
    return oar_server_group_info(h, 0, &info);
}
static oar_status s_json(void *h) { return oar_server_status_json(h, &out.text); }
static oar_status s_snapshot(void *h) { return oar_server_snapshot(h, 0, 0); }
static oar_status s_propose(void *h) { return oar_propose(h, NULL, "+1", 2, OAR_SECOND, ANSWER); }
static oar_status s_query(void *h) { return oar_query(h, NULL, NULL, 0, OAR_SECOND, ANSWER); }
static oar_status s_barrier(void *h) { return oar_barrier(h, 0, OAR_SECOND); }
static oar_status s_open(void *h) { return oar_session_open(h, 0, OAR_SECOND, &out.session); }
static oar_status s_keep(void *h) { return oar_session_keep(h, 0, 1, OAR_SECOND); }
static oar_status s_end(void *h) { return oar_session_close(h, 0, 1, OAR_SECOND); }
static oar_status s_pasync(void *h) { return oar_propose_async(h, NULL, "+1", 2, never_called, NULL); }
static oar_status s_qasync(void *h) { return oar_query_async(h, NULL, NULL, 0, never_called, NULL); }
static oar_queue *queue;
static oar_status s_pqueued(void *h) { return oar_propose_queued(h, NULL, "+1", 2, queue, 0); }
static oar_status s_qqueued(void *h) { return oar_query_queued(h, NULL, NULL, 0, queue, 0); }
static oar_status s_pstart(void *h) { return oar_propose_start(h, NULL, "+1", 2, &out.call); }
static oar_status s_qstart(void *h) { return oar_query_start(h, NULL, NULL, 0, &out.call); }
static oar_status s_work(void *h) {
    oar_work work;
    OAR_INIT(&work);
    return oar_work_next(h, OAR_WORK_ALL, 0, &work);
}
static oar_status s_done(void *h) { return oar_work_done(h, 1, OAR_OK, NULL, 0); }
static oar_status s_abandon(void *h) { return oar_work_abandon(h); }
static oar_status s_events(void *h) { return oar_events_open(h, NULL, (oar_events **)&out.result); }
static oar_status s_identity(void *h) {
    oar_identity identity;
    OAR_INIT(&identity);
    return oar_server_identity(h, &identity);
}
static oar_status s_barrier_at(void *h) { return oar_barrier_at(h, NULL, OAR_SECOND); }
static const oar_change nobody = {sizeof nobody, OAR_CHANGE_PROMOTE, 7, {0}, NULL};
static oar_order order(uint32_t kind) {
    oar_order o;
    OAR_INIT(&o);
    o.kind = kind, o.changes = &nobody, o.change_count = 1;
    return o;
}
static oar_status s_change(void *h) {
    oar_order o = order(0);
    return oar_change_membership(h, &o, OAR_SECOND, ANSWER);
}
static oar_status s_plan(void *h) {
    oar_order o = order(0);
    return oar_plan_membership(h, &o, OAR_SECOND, ANSWER);
}
static oar_status s_members(void *h) { return oar_members(h, 0, OAR_SECOND, ANSWER); }
static oar_status s_transfer(void *h) { return oar_transfer_leadership(h, 0, 1, OAR_SECOND); }
static oar_status s_step(void *h) { return oar_step_down(h, 0, OAR_SECOND); }
static oar_status s_oasync(void *h) {
    oar_order o = order(OAR_ORDER_PLAN);
    return oar_order_async(h, &o, never_called, NULL);
}
static oar_status s_oqueued(void *h) {
    oar_order o = order(OAR_ORDER_PLAN);
    return oar_order_queued(h, &o, queue, 0);
}
static oar_status s_ostart(void *h) {
    oar_order o = order(OAR_ORDER_PLAN);
    return oar_order_start(h, &o, &out.call);
}
static const with_handle of_server[] = {s_identity, s_barrier_at, s_change, s_plan, s_members, s_transfer, s_step, s_oasync, s_oqueued, s_ostart,
                                        s_start,   s_ready,  s_stopped, s_close,  s_info,   s_json,    s_snapshot, s_propose,
                                        s_query,   s_barrier, s_open,   s_keep,   s_end,    s_pasync,  s_qasync,   s_pqueued,
                                        s_qqueued, s_pstart, s_qstart,  s_work,   s_done,   s_abandon, s_events,   s_free, NULL};

static oar_status k_propose(void *h) { return oar_client_propose(h, NULL, "+1", 2, OAR_SECOND, ANSWER); }
static oar_status k_query(void *h) { return oar_client_query(h, NULL, NULL, 0, OAR_SECOND, ANSWER); }
static oar_status k_barrier(void *h) { return oar_client_barrier(h, OAR_SECOND); }
static oar_status k_pasync(void *h) { return oar_client_propose_async(h, NULL, "+1", 2, never_called, NULL); }
static oar_status k_qasync(void *h) { return oar_client_query_async(h, NULL, NULL, 0, never_called, NULL); }
static oar_status k_pqueued(void *h) { return oar_client_propose_queued(h, NULL, "+1", 2, queue, 0); }
static oar_status k_qqueued(void *h) { return oar_client_query_queued(h, NULL, NULL, 0, queue, 0); }
static oar_status k_pstart(void *h) { return oar_client_propose_start(h, NULL, "+1", 2, &out.call); }
static oar_status k_qstart(void *h) { return oar_client_query_start(h, NULL, NULL, 0, &out.call); }
static oar_status k_status(void *h) { return oar_client_status_json(h, OAR_SECOND, &out.text); }
static oar_status k_members(void *h) { return oar_client_members_json(h, OAR_SECOND, &out.text); }
static oar_status k_close(void *h) { return oar_client_close(h); }
static oar_status k_free(void *h) { return oar_client_free(h); }
static oar_status k_seen(void *h) { return oar_client_seen(h, &out.session); }
static oar_status k_change(void *h) {
    oar_order o = order(0);
    return oar_client_change_membership(h, &o, OAR_SECOND, ANSWER);
}
static oar_status k_plan(void *h) {
    oar_order o = order(0);
    return oar_client_plan_membership(h, &o, OAR_SECOND, ANSWER);
}
static oar_status k_who(void *h) { return oar_client_members(h, OAR_SECOND, ANSWER); }
static oar_status k_transfer(void *h) { return oar_client_transfer_leadership(h, 1, OAR_SECOND); }
static oar_status k_step(void *h) { return oar_client_step_down(h, OAR_SECOND); }
static oar_status k_oasync(void *h) {
    oar_order o = order(OAR_ORDER_PLAN);
    return oar_client_order_async(h, &o, never_called, NULL);
}
static oar_status k_oqueued(void *h) {
    oar_order o = order(OAR_ORDER_PLAN);
    return oar_client_order_queued(h, &o, queue, 0);
}
static oar_status k_ostart(void *h) {
    oar_order o = order(OAR_ORDER_PLAN);
    return oar_client_order_start(h, &o, &out.call);
}
static const with_handle of_client[] = {k_seen, k_change, k_plan, k_who, k_transfer, k_step, k_oasync, k_oqueued, k_ostart,
                                        k_propose, k_query, k_barrier, k_pasync, k_qasync, k_pqueued, k_qqueued,
                                        k_pstart,  k_qstart, k_status, k_members, k_close, k_free, NULL};

static oar_status a_wait(void *h) { return oar_call_wait(h, 0, ANSWER); }
static oar_status a_cancel(void *h) { return oar_call_cancel(h); }
static oar_status a_free(void *h) { return oar_call_free(h); }
static const with_handle of_call[] = {a_wait, a_cancel, a_free, NULL};

static oar_status q_next(void *h) {
    oar_completion c[2];
    return oar_queue_next(h, 0, c, sizeof c[0], 2, &out.len);
}
static oar_status q_close(void *h) { return oar_queue_close(h); }
static oar_status q_free(void *h) { return oar_queue_free(h); }
static const with_handle of_queue[] = {q_next, q_close, q_free, NULL};

static oar_status e_next(void *h) {
    oar_event e;
    OAR_INIT(&e);
    return oar_events_next(h, 0, &e);
}
static oar_status e_free(void *h) { return oar_events_free(h); }
static const with_handle of_events[] = {e_next, e_free, NULL};

enum { TYPES = 6 };
static const with_handle *const functions[TYPES] = {of_config, of_server, of_client, of_call, of_queue, of_events};
static void *live[TYPES], *freed[TYPES];

static bool frees(with_handle f) { return f == c_free || f == s_free || f == k_free || f == a_free || f == q_free || f == e_free; }

static void refuses(int type, void *handle) {
    for (int i = 0; functions[type][i] != NULL; i++) {
        with_handle f = functions[type][i];
        memset(&out, 0xa5, sizeof out);
        oar_status status = f(handle), want = handle == NULL && frees(f) ? OAR_OK : OAR_ERR_HANDLE;
        if (status != want) fail_at(__FILE__, __LINE__, "type %d, function %d, handle %p: %s", type, i, handle, oar_status_name(status));
        if (status == OAR_OK) continue;
        const unsigned char *at = (const unsigned char *)&out;
        for (size_t b = 0; b < sizeof out; b += 8) { /* untouched, or empty */
            bool same = at[b] == 0xa5, empty = at[b] == 0;
            if (!same && !empty) fail_at(__FILE__, __LINE__, "type %d, function %d: an out parameter holds something", type, i);
        }
    }
}

static void open_all(void **handles) {
    oar_config *config = cluster(1, true);
    oar_server *server = opened(config, 1, &machine_plain, &machine);
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE));
    handles[0] = config;
    handles[1] = server;
    OK(oar_client_open(config, NULL, (oar_client **)&handles[2]));
    OK(oar_propose_start(server, NULL, "+1", 2, (oar_call **)&handles[3]));
    OK(oar_queue_new((oar_queue **)&handles[4]));
    OK(oar_events_open(server, NULL, (oar_events **)&handles[5]));
}

static void free_all(void **handles) {
    OK(oar_events_free(handles[5]));
    OK(oar_queue_free(handles[4]));
    OK(oar_call_free(handles[3]));
    OK(oar_client_free(handles[2]));
    OK(oar_server_free(handles[1]));
    OK(oar_config_free(handles[0]));
}

static void handles(void) {
    machine_init(&machine);
    open_all(freed);
    free_all(freed);
    open_all(live);
    queue = live[4];
    long sum = sum_of(live[1]);
    static const uint64_t made_up[] = {1, 2, 16, 0x123456789, 0x100000003, 0xffffffff, 0xfffffffffffffff0, UINT64_MAX, 1ull << 63};
    for (int type = 0; type < TYPES; type++) {
        refuses(type, NULL);
        refuses(type, freed[type]);
        for (int other = 0; other < TYPES; other++)
            if (other != type) refuses(type, live[other]);
        for (size_t i = 0; i < sizeof made_up / sizeof made_up[0]; i++) refuses(type, BOGUS(void, made_up[i]));
        refuses(type, BOGUS(void, (uintptr_t)live[type] + (1ull << 32))); /* a later generation */
        refuses(type, BOGUS(void, (uintptr_t)live[type] + 16));           /* the next place */
        refuses(type, &live[type]);                                       /* an address */
    }
    CHECK(access("never", F_OK) != 0);
    queue = freed[4]; /* the second handle of a function */
    IS(s_pqueued(live[1]), OAR_ERR_HANDLE);
    IS(s_qqueued(live[1]), OAR_ERR_HANDLE);
    IS(k_pqueued(live[2]), OAR_ERR_HANDLE);
    IS(k_qqueued(live[2]), OAR_ERR_HANDLE);
    IS(oar_client_open(freed[0], NULL, (oar_client **)&out.result), OAR_ERR_HANDLE);
    CHECK(out.result == NULL);
    add(live[1], 1, sum + 1); /* all that was refused has done nothing */
    free_all(live);
}

/* ---- NULL for every pointer ---- */

static void nulls_of_configs(void) {
    oar_config *c = live[0];
    size_t n = 7;
    char *text = (char *)&n;
    IS(oar_config_new(NULL), OAR_ERR_ARGUMENT);
    IS(oar_config_load_file("x", NULL), OAR_ERR_ARGUMENT);
    IS(oar_config_load_file(NULL, &c), OAR_ERR_ARGUMENT);
    CHECK(c == NULL);
    IS(oar_config_parse("", 0, NULL, NULL), OAR_ERR_ARGUMENT);
    IS(oar_config_parse(NULL, 3, NULL, &c), OAR_ERR_ARGUMENT);
    IS(oar_config_generate(1, NULL, 7000, &c), OAR_ERR_ARGUMENT);
    IS(oar_config_generate(1, "d", 7000, NULL), OAR_ERR_ARGUMENT);
    c = live[0];
    IS(oar_config_set(c, NULL, "1"), OAR_ERR_ARGUMENT);
    IS(oar_config_set(c, "log.kind", NULL), OAR_ERR_ARGUMENT);
    IS(oar_config_value(c, NULL, &text), OAR_ERR_ARGUMENT);
    CHECK(text == NULL);
    IS(oar_config_value(c, "log.kind", NULL), OAR_ERR_ARGUMENT);
    IS(oar_config_members(c, NULL, 1, &n), OAR_ERR_ARGUMENT);
    IS(oar_config_members(c, NULL, 0, NULL), OAR_ERR_ARGUMENT);
    IS(oar_config_dump(c, NULL), OAR_ERR_ARGUMENT);
    IS(oar_config_write_file(c, NULL), OAR_ERR_ARGUMENT);
    IS(oar_debug_counts(NULL), OAR_ERR_ARGUMENT);
    IS(oar_runtime_configure(NULL), OAR_ERR_ARGUMENT);
    IS(oar_last_error_detail(NULL), OAR_ERR_ARGUMENT);
    oar_free(NULL);
}

static void nulls_of_servers(void) {
    oar_server *s = live[1];
    oar_client *k = live[2];
    void *result = &s;
    size_t len = 3;
    IS(oar_server_open(live[0], 1, NULL, &s), OAR_ERR_ARGUMENT);
    CHECK(s == NULL);
    s = live[1];
    IS(oar_server_open(live[0], 1, NULL, NULL), OAR_ERR_ARGUMENT);
    IS(oar_server_group_info(s, 0, NULL), OAR_ERR_ARGUMENT);
    IS(oar_server_status_json(s, NULL), OAR_ERR_ARGUMENT);
    IS(oar_propose(s, NULL, NULL, 1, OAR_SECOND, &result, &len), OAR_ERR_ARGUMENT);
    CHECK(result == NULL && len == 0);
    len = 3;
    IS(oar_propose(s, NULL, "+1", 2, OAR_SECOND, NULL, &len), OAR_ERR_ARGUMENT);
    CHECK(len == 0);
    IS(oar_propose(s, NULL, "+1", 2, OAR_SECOND, &result, NULL), OAR_ERR_ARGUMENT);
    IS(oar_query(s, NULL, NULL, 1, OAR_SECOND, &result, &len), OAR_ERR_ARGUMENT);
    IS(oar_session_open(s, 0, OAR_SECOND, NULL), OAR_ERR_ARGUMENT);
    IS(oar_session_keep(s, 0, 0, OAR_SECOND), OAR_ERR_ARGUMENT);
    IS(oar_session_close(s, 0, 0, OAR_SECOND), OAR_ERR_ARGUMENT);
    IS(oar_propose_async(s, NULL, "+1", 2, NULL, NULL), OAR_ERR_ARGUMENT);
    IS(oar_propose_async(s, NULL, NULL, 2, never_called, NULL), OAR_ERR_ARGUMENT);
    IS(oar_query_async(s, NULL, NULL, 0, NULL, NULL), OAR_ERR_ARGUMENT);
    IS(oar_query_async(s, NULL, NULL, 2, never_called, NULL), OAR_ERR_ARGUMENT);
    IS(oar_propose_queued(s, NULL, NULL, 2, live[4], 0), OAR_ERR_ARGUMENT);
    IS(oar_query_queued(s, NULL, NULL, 2, live[4], 0), OAR_ERR_ARGUMENT);
    IS(oar_propose_queued(s, NULL, "+1", 2, NULL, 0), OAR_ERR_HANDLE);
    IS(oar_propose_start(s, NULL, "+1", 2, NULL), OAR_ERR_ARGUMENT);
    out.call = live[3];
    IS(oar_propose_start(s, NULL, NULL, 2, &out.call), OAR_ERR_ARGUMENT);
    CHECK(out.call == NULL);
    IS(oar_query_start(s, NULL, NULL, 0, NULL), OAR_ERR_ARGUMENT);
    IS(oar_client_open(NULL, NULL, &k), OAR_ERR_ARGUMENT);
    CHECK(k == NULL);
    IS(oar_client_open(live[0], NULL, NULL), OAR_ERR_ARGUMENT);
    IS(oar_client_status_json(live[2], 0, NULL), OAR_ERR_ARGUMENT);
    IS(oar_client_members_json(live[2], 0, NULL), OAR_ERR_ARGUMENT);
    IS(oar_client_propose(live[2], NULL, NULL, 1, OAR_SECOND, &result, &len), OAR_ERR_ARGUMENT);
    IS(oar_client_propose_async(live[2], NULL, "+1", 2, NULL, NULL), OAR_ERR_ARGUMENT);
    IS(oar_client_query_start(live[2], NULL, "", 0, NULL), OAR_ERR_ARGUMENT);
    IS(oar_events_open(s, NULL, NULL), OAR_ERR_ARGUMENT);
    IS(oar_events_next(live[5], 0, NULL), OAR_ERR_ARGUMENT);
    IS(oar_work_next(s, OAR_WORK_ALL, 0, NULL), OAR_ERR_ARGUMENT);
    IS(oar_work_done(s, 1, OAR_OK, NULL, 4), OAR_ERR_ARGUMENT);
}

static void nulls(void) {
    oar_completion c[2];
    size_t n = 9;
    machine_init(&machine);
    open_all(live);
    OK(oar_call_wait(live[3], OAR_FOREVER, NULL, NULL)); /* an answer that nobody wants is dropped */
    nulls_of_configs();
    nulls_of_servers();
    IS(oar_queue_new(NULL), OAR_ERR_ARGUMENT);
    IS(oar_queue_next(live[4], 0, NULL, sizeof c[0], 2, &n), OAR_ERR_ARGUMENT);
    CHECK(n == 0);
    IS(oar_queue_next(live[4], 0, c, sizeof c[0], 2, NULL), OAR_ERR_ARGUMENT);
    IS(oar_queue_next(live[4], 0, c, sizeof c[0], 0, &n), OAR_ERR_ARGUMENT);
    IS(oar_queue_next(live[4], 0, c, sizeof c[0] - 16, 2, &n), OAR_ERR_STRUCT_SIZE);
    IS(oar_queue_next(live[4], 0, c, 0, 2, &n), OAR_ERR_STRUCT_SIZE);
    IS(oar_call_wait(live[3], 0, &out.result, NULL), OAR_ERR_ARGUMENT);
    IS(oar_results_add(NULL, "", 0), OAR_ERR_ARGUMENT);
    IS(oar_results_append(NULL, "", 0), OAR_ERR_ARGUMENT);
    IS(oar_results_end(NULL), OAR_ERR_ARGUMENT);
    IS(oar_buf_append(NULL, "", 0), OAR_ERR_ARGUMENT);
    IS(oar_writer_write(NULL, "", 0), OAR_ERR_ARGUMENT);
    IS(oar_reader_read(NULL, c, 1, &n), OAR_ERR_ARGUMENT);
    CHECK(oar_fail(NULL) == OAR_ERR_STATE_MACHINE && oar_fail("text") == OAR_ERR_STATE_MACHINE);
    free_all(live);
}

/* ---- Timeouts ---- */

static void timeouts(void) {
    machine_init(&machine);
    open_all(live);
    oar_propose_options p;
    oar_query_options q;
    oar_completion c;
    oar_event e;
    oar_work w;
    OAR_INIT(&p);
    OAR_INIT(&q);
    OAR_INIT(&e);
    OAR_INIT(&w);
    for (int64_t t = -2; t != 0; t = t == -2 ? INT64_MIN : 0) {
        p.timeout = q.timeout = t;
        IS(oar_shutdown(t), OAR_ERR_ARGUMENT);
        IS(oar_server_wait_ready(live[1], t), OAR_ERR_ARGUMENT);
        IS(oar_server_wait_stopped(live[1], t), OAR_ERR_ARGUMENT);
        IS(oar_server_snapshot(live[1], 0, t), OAR_ERR_ARGUMENT);
        IS(oar_propose(live[1], NULL, "+1", 2, t, ANSWER), OAR_ERR_ARGUMENT);
        IS(oar_query(live[1], NULL, NULL, 0, t, ANSWER), OAR_ERR_ARGUMENT);
        IS(oar_barrier(live[1], 0, t), OAR_ERR_ARGUMENT);
        IS(oar_session_open(live[1], 0, t, &out.session), OAR_ERR_ARGUMENT);
        IS(oar_session_keep(live[1], 0, 1, t), OAR_ERR_ARGUMENT);
        IS(oar_session_close(live[1], 0, 1, t), OAR_ERR_ARGUMENT);
        IS(oar_propose_async(live[1], &p, "+1", 2, never_called, NULL), OAR_ERR_ARGUMENT);
        IS(oar_query_async(live[1], &q, NULL, 0, never_called, NULL), OAR_ERR_ARGUMENT);
        IS(oar_call_wait(live[3], t, ANSWER), OAR_ERR_ARGUMENT);
        IS(oar_queue_next(live[4], t, &c, sizeof c, 1, &out.len), OAR_ERR_ARGUMENT);
        IS(oar_work_next(live[1], OAR_WORK_ALL, t, &w), OAR_ERR_ARGUMENT);
        IS(oar_client_propose(live[2], NULL, "+1", 2, t, ANSWER), OAR_ERR_ARGUMENT);
        IS(oar_client_query(live[2], NULL, NULL, 0, t, ANSWER), OAR_ERR_ARGUMENT);
        IS(oar_client_barrier(live[2], t), OAR_ERR_ARGUMENT);
        IS(oar_client_status_json(live[2], t, &out.text), OAR_ERR_ARGUMENT);
        IS(oar_client_members_json(live[2], t, &out.text), OAR_ERR_ARGUMENT);
        IS(oar_events_next(live[5], t, &e), OAR_ERR_ARGUMENT);
    }
    OK(oar_propose(live[1], NULL, "+1", 2, INT64_MAX, NULL, NULL)); /* 292 years are no overflow */
    OK(oar_query(live[1], NULL, NULL, 0, INT64_MAX, NULL, NULL));
    OK(oar_client_propose(live[2], NULL, "+1", 2, INT64_MAX, NULL, NULL));
    OK(oar_server_wait_ready(live[1], INT64_MAX));
    p.timeout = INT64_MAX;
    oar_call *call;
    OK(oar_propose_start(live[1], &p, "+1", 2, &call));
    OK(oar_call_wait(call, INT64_MAX, NULL, NULL));
    OK(oar_call_free(call));
    OK(oar_shutdown(INT64_MAX));
    free_all(live);
}

const struct phase arguments_phases[] = {
    {"arguments.handles", handles},
    {"arguments.nulls", nulls},
    {"arguments.timeouts", timeouts},
    {NULL, NULL},
};
