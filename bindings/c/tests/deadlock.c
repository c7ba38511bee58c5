/* What a callback must not call, in each callback; and what it may. */
#include "harness.h"

static struct machine machine;
static oar_server *server, *other;
static oar_client *client;
static oar_config *config;
static oar_call *call;
static oar_queue *queue;
static oar_events *events;
static int tried[10], answered;
static const char *const callbacks[] = {"apply",   "query", "snapshot_prepare", "snapshot_write", "snapshot_release",
                                        "restore", "completion", "log", "next_due", "state_hash"};

static void answer(void *user_data, const oar_completion *c) {
    (void)user_data, (void)c;
    ADD(answered);
}

/* What is allowed is done, or refused because the server that calls back is being closed meanwhile. */
#define ALLOWED(expression)                                                                                            \
    do {                                                                                                               \
        oar_status status_ = (expression);                                                                             \
        if (status_ != OAR_ERR_CLOSED) OK(status_);                                                                    \
    } while (0)

/* IS would compare with the last failure of this thread, which is what it is for. */
#define REFUSED(expression) IS(expression, OAR_ERR_WOULD_DEADLOCK)

static void waiting_is_refused(oar_server *s) {
    oar_completion c;
    oar_event e;
    oar_work w;
    oar_group_info info;
    uint64_t session;
    size_t n;
    char *json;
    OAR_INIT(&e);
    OAR_INIT(&w);
    OAR_INIT(&info);
    REFUSED(oar_propose(s, NULL, "+1", 2, 0, NULL, NULL));
    REFUSED(oar_propose(s, NULL, "+1", 2, OAR_FOREVER, NULL, NULL));
    REFUSED(oar_query(s, NULL, NULL, 0, OAR_FOREVER, NULL, NULL));
    REFUSED(oar_barrier(s, 0, OAR_FOREVER));
    REFUSED(oar_session_open(s, 0, OAR_FOREVER, &session));
    REFUSED(oar_session_keep(s, 0, 1, OAR_FOREVER));
    REFUSED(oar_session_close(s, 0, 1, OAR_FOREVER));
    REFUSED(oar_server_start(s));
    REFUSED(oar_server_close(s));
    REFUSED(oar_server_free(s));
    REFUSED(oar_server_wait_ready(s, 0));
    REFUSED(oar_server_wait_stopped(s, 0));
    REFUSED(oar_server_group_info(s, 0, &info));
    REFUSED(oar_server_status_json(s, &json));
    REFUSED(oar_server_snapshot(s, 0, 0));
    oar_identity identity;
    oar_order order;
    void *result;
    OAR_INIT(&identity);
    OAR_INIT(&order);
    order.flags = OAR_ORDER_CANCEL;
    REFUSED(oar_server_identity(s, &identity));
    REFUSED(oar_barrier_at(s, NULL, OAR_FOREVER));
    REFUSED(oar_change_membership(s, &order, OAR_FOREVER, &result, &n));
    REFUSED(oar_plan_membership(s, &order, OAR_FOREVER, &result, &n));
    REFUSED(oar_members(s, 0, OAR_FOREVER, &result, &n));
    REFUSED(oar_transfer_leadership(s, 0, 0, OAR_FOREVER));
    REFUSED(oar_step_down(s, 0, OAR_FOREVER));
    REFUSED(oar_client_change_membership(client, &order, OAR_FOREVER, &result, &n));
    REFUSED(oar_client_plan_membership(client, &order, OAR_FOREVER, &result, &n));
    REFUSED(oar_client_members(client, OAR_FOREVER, &result, &n));
    REFUSED(oar_client_transfer_leadership(client, 0, OAR_FOREVER));
    REFUSED(oar_client_step_down(client, OAR_FOREVER));
    REFUSED(oar_server_format_joining(config, 1));
    REFUSED(oar_server_format(config, 1));
    REFUSED(oar_shutdown(0));
    REFUSED(oar_call_wait(call, 0, NULL, NULL));
    REFUSED(oar_queue_next(queue, 0, &c, sizeof c, 1, &n));
    REFUSED(oar_events_next(events, 0, &e));
    REFUSED(oar_work_next(s, OAR_WORK_ALL, 0, &w));
    REFUSED(oar_client_propose(client, NULL, "+1", 2, OAR_FOREVER, NULL, NULL));
    REFUSED(oar_client_query(client, NULL, NULL, 0, OAR_FOREVER, NULL, NULL));
    REFUSED(oar_client_barrier(client, OAR_FOREVER));
    REFUSED(oar_client_status_json(client, OAR_FOREVER, &json));
    REFUSED(oar_client_members_json(client, OAR_FOREVER, &json));
    REFUSED(oar_client_close(client));
    REFUSED(oar_client_free(client));
}

static void try_all(const char *callback) {
    size_t i = 0;
    while (strcmp(callbacks[i], callback) != 0) i++;
    if (call == NULL || ADD(tried[i]) > 1) return;
    waiting_is_refused(server);
    waiting_is_refused(other); /* whichever server it is about */
    oar_call *more;
    REFUSED(oar_propose_start(server, NULL, "+1", 2, &more)); /* it could not be waited for */
    REFUSED(oar_query_start(server, NULL, NULL, 0, &more));
    REFUSED(oar_client_propose_start(client, NULL, "+1", 2, &more));
    REFUSED(oar_client_query_start(client, NULL, NULL, 0, &more));
    CHECK(more == NULL);
    oar_order order;
    OAR_INIT(&order);
    order.kind = OAR_ORDER_MEMBERS;
    REFUSED(oar_order_start(server, &order, &more));
    REFUSED(oar_client_order_start(client, &order, &more));
    ALLOWED(oar_order_async(server, &order, answer, NULL));
    OK(oar_client_order_queued(client, &order, queue, 4));
    uint64_t seen;
    OK(oar_client_seen(client, &seen));
    ALLOWED(oar_propose_async(server, NULL, "+1", 2, answer, NULL));
    OK(oar_propose_async(other, NULL, "+1", 2, answer, NULL));
    ALLOWED(oar_query_async(server, NULL, NULL, 0, answer, NULL));
    OK(oar_client_propose_async(client, NULL, "+1", 2, answer, NULL));
    ALLOWED(oar_propose_queued(server, NULL, "+1", 2, queue, 1));
    ALLOWED(oar_query_queued(server, NULL, NULL, 0, queue, 2));
    OK(oar_client_query_queued(client, NULL, NULL, 0, queue, 3));
    CHECK(oar_fail("still possible") == OAR_ERR_STATE_MACHINE);
}

static void in_machine(struct machine *m, const char *callback) {
    if (m == &machine) try_all(callback);
}
static void in_completion(void *user_data, const oar_completion *c) {
    (void)user_data, (void)c;
    try_all("completion");
    ADD(answered);
}
static void in_log(void *user_data, const oar_log_record *record) {
    (void)user_data;
    CHECK(record->struct_size >= sizeof *record && record->text != NULL);
    try_all("log");
}
static int in_next_due(void *user_data, int64_t *time) {
    (void)user_data, (void)time;
    try_all("next_due");
    return 0;
}
static oar_status in_expire(void *user_data, uint64_t index, int64_t time) { return (void)user_data, (void)index, (void)time, OAR_OK; }
static uint64_t in_hash(void *user_data) { return (void)user_data, try_all("state_hash"), 7; }

static void open_server(void) {
    oar_state_machine m = machine_full;
    oar_server_options o;
    m.next_due = in_next_due, m.expire = in_expire, m.state_hash = in_hash;
    OAR_INIT(&o);
    o.machine = &m, o.machine_user_data = &machine, o.log = in_log, o.log_levels = "debug";
    OK(oar_server_open(config, 1, &o, &server));
    OK(oar_events_open(server, NULL, &events));
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE));
}

static void callbacks_refuse(void) {
    struct machine second;
    machine_init(&machine);
    machine_init(&second);
    machine.hook = in_machine;
    config = cluster(1, false);
    other = single(&machine_plain, &second);
    OK(oar_client_open(config, NULL, &client));
    OK(oar_queue_new(&queue));
    open_server();
    oar_call *begun;
    OK(oar_query_start(server, NULL, NULL, 0, &begun));
    PUT(call, begun); /* from now on callbacks try */
    OK(propose(server, "+1", NULL, 0)); /* its result depends on what callbacks have added before */
    (void)sum_of(server);
    OK(oar_propose_async(server, NULL, "+1", 2, in_completion, NULL));
    EVENTUALLY(GET(tried[6]) > 0);
    OK(oar_server_snapshot(server, 0, PATIENCE));
    EVENTUALLY(GET(tried[0]) && GET(tried[1]) && GET(tried[2]) && GET(tried[3]) && GET(tried[4]));
    OK(oar_events_free(events));
    OK(oar_server_free(server));
    open_server(); /* restores */
    EVENTUALLY(GET(tried[5]) && GET(tried[7]) && GET(tried[8]));
    OK(oar_call_free(call));
    OK(oar_events_free(events));
    OK(oar_queue_free(queue));
    OK(oar_client_free(client));
    OK(oar_server_free(server));
    OK(oar_server_free(other));
    OK(oar_config_free(config));
    CHECK(GET(answered) > 0);
}

/* Destructors are no callbacks in this sense: what was freed is a handle no more, and all else may be called. */
static void destroying(void *unused) {
    (void)unused;
    IS(oar_server_close(server), OAR_ERR_HANDLE);
    OK(oar_barrier(other, 0, PATIENCE));
    ADD(answered);
}

static void destructors(void) {
    struct machine second;
    oar_state_machine m = machine_plain;
    m.destroy = destroying;
    machine_init(&machine);
    machine_init(&second);
    other = single(&machine_plain, &second);
    server = single(&m, &machine);
    OK(oar_server_free(server));
    CHECK(answered == 1);
    OK(oar_server_free(other));
}

const struct phase deadlock_phases[] = {{"deadlock.callbacks", callbacks_refuse}, {"deadlock.destructors", destructors}, {NULL, NULL}};
