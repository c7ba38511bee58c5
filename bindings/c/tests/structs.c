/* The sizes of structs, in both directions, their flags and what is reserved. */
#include "harness.h"

static struct machine machine;
static oar_config *config;
static oar_server *server;

/* ---- Structs that the caller fills in ---- */

static oar_status take_runtime(const void *s) { return oar_runtime_configure(s); }
static oar_status take_propose(const void *s) { return oar_propose(server, s, "+1", 2, OAR_FOREVER, NULL, NULL); }
static oar_status take_query(const void *s) { return oar_query(server, s, NULL, 0, OAR_FOREVER, NULL, NULL); }
static oar_status take_client(const void *s) {
    oar_client *client;
    oar_status status = oar_client_open(config, s, &client);
    return status == OAR_OK ? oar_client_free(client) : status;
}
static oar_status take_events(const void *s) {
    oar_events *events;
    oar_status status = oar_events_open(server, s, &events);
    return status == OAR_OK ? oar_events_free(events) : status;
}
static oar_status take_server(const void *s) {
    oar_server *another;
    oar_status status = oar_server_open(config, 1, s, &another);
    return status == OAR_OK ? oar_server_free(another) : status;
}
static oar_status no_machine(void *user_data, uint64_t id, void **m) { return (void)user_data, (void)id, (void)m, OAR_OK; }
static oar_status take_cluster(const void *s) {
    oar_cluster *made;
    oar_status status = oar_cluster_new(s, &made);
    return status == OAR_OK ? oar_cluster_free(made) : status;
}
static oar_status no_check(void *user_data, uint64_t number, void **m) { return (void)user_data, (void)number, (void)m, OAR_ERR_CANCELLED; }
static oar_status take_check(const void *s) {
    oar_status status = oar_state_machine_check(s, NULL);
    return status == OAR_ERR_CANCELLED ? OAR_OK : status; /* it was begun */
}
static oar_status take_machine(const void *s) {
    oar_server_options o;
    OAR_INIT(&o);
    o.machine = s;
    return take_server(&o);
}

/* first is the size of the struct's first version: programs that were compiled with it go on. */
static void taken(oar_status (*take)(const void *), const void *good, size_t first, size_t size) {
    uint32_t buffer[4096];
    const uint32_t wrong[] = {0, 1, 4, (uint32_t)first - 8, (uint32_t)first - 4, (uint32_t)size + 2, (uint32_t)size + 8192, UINT32_MAX};
    memset(buffer, 0, sizeof buffer);
    memcpy(buffer, good, size);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        buffer[0] = wrong[i];
        IS(take(buffer), OAR_ERR_STRUCT_SIZE);
    }
    for (buffer[0] = (uint32_t)first; buffer[0] <= (uint32_t)size; buffer[0] += 4) OK(take(buffer));
    buffer[0] = (uint32_t)size + 64; /* of a later version that is not used */
    OK(take(buffer));
    buffer[size / 4 + 15] = 1;
    IS(take(buffer), OAR_ERR_STRUCT_SIZE);
    buffer[0] = (uint32_t)size + 60; /* beyond its end */
    OK(take(buffer));
}

#define TAKEN(take, good) taken((take), &(good), sizeof(good), sizeof(good))
#define TAKEN_FROM(take, good, member) taken((take), &(good), (size_t)((char *)&(good).member - (char *)&(good)), sizeof(good))

static void inputs(void) {
    oar_runtime_options runtime;
    oar_propose_options propose;
    oar_query_options query;
    oar_client_options client;
    oar_events_options events;
    oar_server_options options;
    oar_cluster_options in_memory;
    oar_check_options checked;
    machine_init(&machine);
    config = cluster(1, true);
    server = started(config, 1, &machine_plain, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    OAR_INIT(&runtime);
    OAR_INIT(&propose);
    OAR_INIT(&query);
    OAR_INIT(&client);
    OAR_INIT(&events);
    OAR_INIT(&options);
    options.flags = OAR_SERVER_PULL;
    TAKEN(take_runtime, runtime);
    TAKEN(take_propose, propose);
    TAKEN_FROM(take_query, query, max_age);
    TAKEN(take_client, client);
    TAKEN(take_events, events);
    TAKEN(take_server, options);
    OAR_INIT(&in_memory);
    in_memory.machine = &machine_full, in_memory.machine_new = no_machine;
    TAKEN(take_cluster, in_memory);
    OAR_INIT(&checked);
    checked.machine = &machine_full, checked.machine_new = no_check;
    TAKEN(take_check, checked);
    struct machine another;
    machine_init(&another);
    oar_state_machine m = machine_full;
    m.destroy = NULL; /* there is no user_data */
    TAKEN(take_machine, m);
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

/* ---- Structs that the library fills in ---- */

static oar_events *events;
static oar_status give_detail(void *s) { return oar_last_error_detail(s); }
static oar_status give_counts(void *s) { return oar_debug_counts(s); }
static oar_status give_info(void *s) { return oar_server_group_info(server, 0, s); }
static oar_status give_event(void *s) { return oar_events_next(events, PATIENCE, s); }

static oar_status give_identity(void *s) { return oar_server_identity(server, s); }
static void *bytes;
static size_t bytes_len;
static oar_status give_membership(void *s) { return oar_membership_read(bytes, bytes_len, s); }
static oar_status give_member(void *s) { return oar_member_read(bytes, bytes_len, 0, s); }
static oar_status give_plan(void *s) { return oar_plan_read(bytes, bytes_len, s); }
static oar_status give_plan_member(void *s) { return oar_plan_member_read(bytes, bytes_len, 0, s); }

static oar_server *pulled;
static oar_status give_work(void *s) { return oar_work_next(pulled, OAR_WORK_ALL, OAR_FOREVER, s); } /* it is closed */

/* first as above. */
static void given(oar_status (*give)(void *), size_t first, size_t size) {
    unsigned char buffer[2048];
    const uint32_t wrong[] = {0, 4, (uint32_t)first - 4, (uint32_t)size + 2, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memset(buffer, 0xa5, sizeof buffer);
        memcpy(buffer, &wrong[i], 4);
        IS(give(buffer), OAR_ERR_STRUCT_SIZE);
        for (size_t b = 4; b < sizeof buffer; b++) CHECK(buffer[b] == 0xa5);
    }
    for (uint32_t theirs = (uint32_t)first; theirs <= size + 64; theirs += 8) {
        uint32_t said;
        memset(buffer, 0xa5, sizeof buffer);
        memcpy(buffer, &theirs, 4);
        OK(give(buffer));
        memcpy(&said, buffer, 4);
        CHECK(said == theirs);
        for (size_t b = size; b < theirs; b++) CHECK(buffer[b] == 0);
        for (size_t b = theirs; b < sizeof buffer; b++) CHECK(buffer[b] == 0xa5);
    }
}

static void completions(void) {
    enum { STRIDE = sizeof(oar_completion) + 16, FIRST = offsetof(oar_completion, index), COUNT = 3 };
    unsigned char buffer[STRIDE * (COUNT + 1)];
    oar_queue *queue;
    size_t n = 0, got = 0;
    OK(oar_queue_new(&queue));
    for (uint64_t tag = 0; tag < COUNT; tag++) OK(oar_propose_queued(server, NULL, "+1", 2, queue, tag));
    memset(buffer, 0xa5, sizeof buffer);
    for (; got < COUNT; got += n) OK(oar_queue_next(queue, OAR_FOREVER, (oar_completion *)(void *)(buffer + got * STRIDE), STRIDE, COUNT - got, &n));
    for (size_t i = 0; i < COUNT; i++) {
        oar_completion c;
        memcpy(&c, buffer + i * STRIDE, sizeof c);
        CHECK(c.struct_size == STRIDE && c.index > 0 && c.tag == i && c.status == OAR_OK && c.text[0] == '\0' && c.leader_address[0] == '\0');
        for (size_t b = sizeof c; b < STRIDE; b++) CHECK(buffer[i * STRIDE + b] == 0);
    }
    for (size_t b = COUNT * STRIDE; b < sizeof buffer; b++) CHECK(buffer[b] == 0xa5);
    IS(oar_queue_next(queue, 0, (oar_completion *)(void *)buffer, STRIDE + 4, 1, &n), OAR_ERR_STRUCT_SIZE);
    IS(oar_queue_next(queue, 0, (oar_completion *)(void *)buffer, FIRST - 8, 1, &n), OAR_ERR_STRUCT_SIZE);
    OK(oar_propose_queued(server, NULL, "+1", 2, queue, 9)); /* for a program of the version before */
    memset(buffer, 0xa5, sizeof buffer);
    OK(oar_queue_next(queue, OAR_FOREVER, (oar_completion *)(void *)buffer, FIRST, 1, &n));
    for (size_t b = FIRST; b < sizeof buffer; b++) CHECK(buffer[b] == 0xa5);
    OK(oar_queue_free(queue));
}

static void outputs(void) {
    machine_init(&machine);
    config = cluster(1, true);
    server = opened(config, 1, &machine_plain, &machine);
    oar_events_options levels;
    OAR_INIT(&levels);
    levels.log_levels = "debug"; /* enough of them */
    OK(oar_events_open(server, &levels, &events));
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE));
    oar_server_options pull;
    OAR_INIT(&pull);
    pull.flags = OAR_SERVER_PULL;
    OK(oar_server_open(config, 1, &pull, &pulled));
    OK(oar_server_close(pulled));
#define GIVEN(give, type) given((give), sizeof(type), sizeof(type))
    GIVEN(give_detail, oar_error_detail);
    GIVEN(give_counts, oar_counts);
    given(give_info, offsetof(oar_group_info, membership_index), sizeof(oar_group_info));
    GIVEN(give_identity, oar_identity);
    GIVEN(give_event, oar_event);
    GIVEN(give_work, oar_work);
    OK(oar_members(server, 0, OAR_FOREVER, &bytes, &bytes_len));
    GIVEN(give_membership, oar_membership);
    GIVEN(give_member, oar_member);
    oar_free(bytes);
    oar_order order;
    OAR_INIT(&order);
    order.flags = OAR_ORDER_CANCEL;
    OK(oar_plan_membership(server, &order, OAR_FOREVER, &bytes, &bytes_len));
    GIVEN(give_plan, oar_plan);
    GIVEN(give_plan_member, oar_plan_member);
    oar_free(bytes);
    completions();
    OK(oar_events_free(events));
    OK(oar_server_free(pulled));
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

/* ---- Flags and what is reserved ---- */

static oar_status take_order(const void *s) {
    oar_status status = oar_change_membership(server, s, OAR_FOREVER, NULL, NULL);
    return status == OAR_ERR_CHANGE_IMPOSSIBLE ? OAR_OK : status;
}
static oar_change changes[2];
static oar_status take_change(const void *s) {
    oar_order o;
    OAR_INIT(&o);
    o.changes = s, o.change_count = 1;
    return take_order(&o);
}

static void flags_of_orders(void) {
    oar_order o;
    OAR_INIT(&o);
    SAYS(take_order(&o), OAR_ERR_ARGUMENT, "without changes");
    o.change_count = 1;
    SAYS(take_order(&o), OAR_ERR_ARGUMENT, "NULL");
    o.changes = changes;
    IS(take_order(&o), OAR_ERR_STRUCT_SIZE);
    OAR_INIT(&changes[0]);
    SAYS(take_order(&o), OAR_ERR_UNSUPPORTED, "kind");
    changes[0].kind = OAR_CHANGE_ADDRESS + 1;
    IS(take_order(&o), OAR_ERR_UNSUPPORTED);
    changes[0].kind = OAR_CHANGE_PROMOTE, changes[0].id = 1; /* it is a voter */
    OK(take_order(&o));
    TAKEN(take_change, changes[0]);
    TAKEN(take_order, o);
    o.change_count = 2; /* the second one has no size */
    SAYS(take_order(&o), OAR_ERR_STRUCT_SIZE, "change 1");
    changes[1] = changes[0], changes[1].id = 9;
    OK(take_order(&o));
    o.flags = 4;
    IS(take_order(&o), OAR_ERR_FLAGS);
    o.flags = OAR_ORDER_CANCEL;
    SAYS(take_order(&o), OAR_ERR_ARGUMENT, "CANCEL");
    o.flags = 0, o.reserved = 1;
    IS(take_order(&o), OAR_ERR_FLAGS);
    o.reserved = 0, o.to = 1;
    SAYS(take_order(&o), OAR_ERR_ARGUMENT, "to with");
    o.to = 0, o.kind = OAR_ORDER_PLAN;
    SAYS(take_order(&o), OAR_ERR_ARGUMENT, "OAR_ORDER_PLAN");
    o.kind = 6;
    IS(take_order(&o), OAR_ERR_ARGUMENT);
    o.kind = 0, o.change_count = 257;
    SAYS(take_order(&o), OAR_ERR_ARGUMENT, "257");
    o.change_count = 1, o.group = 7;
    IS(take_order(&o), OAR_ERR_NO_GROUP);
    char far_away[300];
    memset(far_away, 'x', sizeof far_away - 1);
    far_away[sizeof far_away - 1] = '\0';
    o.group = 0, changes[0].address = far_away;
    SAYS(take_order(&o), OAR_ERR_ARGUMENT, "255");
}

static void flags_of_servers(void) {
    oar_server_options o;
    oar_state_machine m = machine_full;
    m.destroy = NULL;
    OAR_INIT(&o);
    o.machine = &m;
    o.flags = 2;
    IS(take_server(&o), OAR_ERR_FLAGS);
    o.flags = 1u << 31;
    IS(take_server(&o), OAR_ERR_FLAGS);
    o.flags = 0, o.reserved = 1;
    IS(take_server(&o), OAR_ERR_FLAGS);
    o.reserved = 0, o.pull_flags = OAR_PULL_STATE_HASH; /* without OAR_SERVER_PULL */
    IS(take_server(&o), OAR_ERR_FLAGS);
    o.flags = OAR_SERVER_PULL, o.pull_flags = 16, o.machine = NULL;
    IS(take_server(&o), OAR_ERR_FLAGS);
    o.pull_flags = 0, o.machine = &m;
    SAYS(take_server(&o), OAR_ERR_ARGUMENT, "one or the other");
    o.flags = 0, o.machine = NULL;
    SAYS(take_server(&o), OAR_ERR_ARGUMENT, "machine");
    m.flags = 2;
    IS(take_machine(&m), OAR_ERR_FLAGS);
    m.flags = OAR_MACHINE_CONCURRENT_QUERIES;
    OK(take_machine(&m));
#define WITHOUT(member, part)                                                                                          \
    m = machine_full, m.destroy = NULL, m.member = NULL;                                                               \
    SAYS(take_machine(&m), OAR_ERR_ARGUMENT, part)
    WITHOUT(apply, "apply");
    WITHOUT(query, "query");
    WITHOUT(snapshot_write, "snapshot_write");
    WITHOUT(restore, "restore");
    m = machine_plain, m.destroy = NULL, m.snapshot_prepare = machine_full.snapshot_prepare;
    SAYS(take_machine(&m), OAR_ERR_ARGUMENT, "snapshot_prepare");
}

static int never_due(void *user_data, int64_t *time) { return (void)user_data, (void)time, 0; }

static void flags(void) {
    oar_runtime_options runtime;
    oar_propose_options p;
    oar_query_options q;
    oar_client_options k;
    oar_events_options e;
    machine_init(&machine);
    config = cluster(1, true);
    server = started(config, 1, &machine_plain, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
#define REFUSED(take, s, member, status)                                                                               \
    OAR_INIT(&s);                                                                                                      \
    s.member = 64;                                                                                                     \
    IS(take(&s), status)
    REFUSED(take_runtime, runtime, flags, OAR_ERR_FLAGS);
    REFUSED(take_propose, p, flags, OAR_ERR_FLAGS);
    REFUSED(take_query, q, flags, OAR_ERR_FLAGS);
    REFUSED(take_query, q, reserved, OAR_ERR_FLAGS);
    REFUSED(take_query, q, consistency, OAR_ERR_UNSUPPORTED);
    REFUSED(take_client, k, flags, OAR_ERR_FLAGS);
    REFUSED(take_client, k, reserved, OAR_ERR_FLAGS);
    REFUSED(take_events, e, flags, OAR_ERR_FLAGS);
    REFUSED(take_events, e, reserved, OAR_ERR_FLAGS);
    REFUSED(take_propose, p, sequence, OAR_ERR_ARGUMENT);
    REFUSED(take_propose, p, floor, OAR_ERR_ARGUMENT);
    REFUSED(take_propose, p, session, OAR_ERR_ARGUMENT);
    REFUSED(take_propose, p, group, OAR_ERR_NO_GROUP);
    REFUSED(take_query, q, group, OAR_ERR_NO_GROUP);
    p.group = 0, p.session = 1, p.sequence = 2, p.floor = 3;
    SAYS(take_propose(&p), OAR_ERR_ARGUMENT, "floor");
    OAR_INIT(&e);
    e.room = 1;
    IS(take_events(&e), OAR_ERR_ARGUMENT);
    e.room = 2, e.log_levels = "nonsense=7";
    IS(take_events(&e), OAR_ERR_CONFIG);
    OAR_INIT(&runtime);
    runtime.processors = -1;
    IS(take_runtime(&runtime), OAR_ERR_ARGUMENT);
    runtime.processors = 2, runtime.gc_percent = 100;
    OK(take_runtime(&runtime));
    OAR_INIT(&k);
    k.dial_timeout = -1;
    IS(take_client(&k), OAR_ERR_ARGUMENT);
    k.dial_timeout = 0, k.outstanding_bytes_max = UINT64_MAX, k.response_bytes_max = UINT64_MAX; /* anything but a crash */
    oar_status status = take_client(&k);
    CHECK(status == OAR_OK || status == OAR_ERR_CONFIG || status == OAR_ERR_ARGUMENT);
    oar_state_machine m = machine_full;
    m.destroy = NULL, m.next_due = never_due;
    SAYS(take_machine(&m), OAR_ERR_ARGUMENT, "next_due");
    flags_of_servers();
    flags_of_orders();
    OAR_INIT(&q);
    q.max_age = 1;
    SAYS(take_query(&q), OAR_ERR_ARGUMENT, "OAR_BOUNDED");
    q.consistency = OAR_BOUNDED;
    OK(take_query(&q));
    q.max_age = -1;
    IS(take_query(&q), OAR_ERR_ARGUMENT);
    q.max_age = 0;
    SAYS(take_query(&q), OAR_ERR_ARGUMENT, "neither");
    oar_work w;
    OAR_INIT(&w);
    IS(oar_work_next(server, 0, 0, &w), OAR_ERR_FLAGS);
    IS(oar_work_next(server, 512, 0, &w), OAR_ERR_FLAGS);
    IS(oar_work_next(server, OAR_WORK_CLOSED, 0, &w), OAR_ERR_FLAGS);
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

const struct phase structs_phases[] = {
    {"structs.inputs", inputs},
    {"structs.outputs", outputs},
    {"structs.flags", flags},
    {NULL, NULL},
};
