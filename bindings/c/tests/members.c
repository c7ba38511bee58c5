/* Members and leadership: of clusters in memory, and of configured servers on disk. */
#include "harness.h"

enum { MOST = 6 };
static struct machine machines[MOST + 1][4];
static int made[MOST + 1];

static oar_status factory(void *user_data, uint64_t id, void **machine) {
    (void)user_data;
    CHECK(id >= 1 && id <= MOST && made[id] < 4);
    struct machine *m = &machines[id][made[id]++];
    machine_init(m);
    *machine = m;
    return OAR_OK;
}

static oar_cluster *cluster_of(uint32_t servers, oar_config *config) {
    oar_cluster *c;
    oar_cluster_options o;
    OAR_INIT(&o);
    o.servers = servers, o.machine = &machine_full, o.machine_new = factory, o.config = config;
    OK(oar_cluster_new(&o, &c));
    OK(oar_cluster_start(c, 0));
    return c;
}

static oar_cluster *calm_three(void) {
    oar_config *config = calm();
    oar_cluster *c = cluster_of(3, config);
    OK(oar_config_free(config));
    return c;
}

static oar_server *server_of(oar_cluster *c, uint64_t id) {
    oar_server *s;
    OK(oar_cluster_server(c, id, &s));
    return s;
}

static uint64_t leader(oar_cluster *c) {
    uint64_t id;
    OK(oar_cluster_leader(c, PATIENCE, &id));
    return id;
}

static oar_client *client_of(oar_cluster *c) {
    oar_client *client;
    OK(oar_cluster_client(c, NULL, &client));
    return client;
}

static oar_order ordered(const oar_change *changes, size_t count) {
    oar_order o;
    OAR_INIT(&o);
    o.changes = changes, o.change_count = count;
    return o;
}

static oar_change changed(uint32_t kind, uint64_t id) {
    oar_change c;
    OAR_INIT(&c);
    c.kind = kind, c.id = id;
    return c;
}

/* Changes it, and gives the membership then. */
static oar_membership change(oar_client *client, const oar_change *changes, size_t count) {
    oar_order o = ordered(changes, count);
    oar_membership m;
    void *result;
    size_t len;
    OAR_INIT(&m);
    oar_status status;
    /* A server that has just come may not have been heard of yet. */
    EVENTUALLY((status = oar_client_change_membership(client, &o, PATIENCE, &result, &len)) != OAR_ERR_CHANGE_UNSAFE);
    OK(status);
    OK(oar_membership_read(result, len, &m));
    oar_free(result);
    CHECK(m.flags == 0 && m.index > 0);
    return m;
}

/* The roles of a server, 0 if it is no member; its store and address are the change's, if there is one. */
static uint32_t roles_of(oar_client *client, uint64_t id, const oar_change *named) {
    oar_membership m;
    oar_member one;
    void *result;
    size_t len;
    uint32_t roles = 0;
    OAR_INIT(&m);
    OAR_INIT(&one);
    OK(oar_client_members(client, PATIENCE, &result, &len));
    OK(oar_membership_read(result, len, &m));
    for (uint32_t i = 0; i < m.members; i++) {
        OK(oar_member_read(result, len, i, &one));
        if (one.id != id) continue;
        roles |= one.roles;
        if (named != NULL) CHECK(memcmp(one.store, named->store, 16) == 0 && strcmp(one.address, named->address) == 0);
    }
    IS(oar_member_read(result, len, m.members, &one), OAR_ERR_NOT_FOUND);
    CHECK(one.address == NULL);
    oar_free(result);
    return roles;
}

static oar_status refused(oar_client *client, const oar_order *o) {
    void *result = &result;
    size_t len = 1;
    oar_status status = oar_client_change_membership(client, o, PATIENCE, &result, &len);
    CHECK(status != OAR_OK && result == NULL && len == 0);
    return status;
}

static void propose_some(oar_client *client, int count) {
    for (int i = 0; i < count; i++) OK(oar_client_propose(client, NULL, "+1", 2, PATIENCE, NULL, NULL));
}

/* From one server to four, by learners that are promoted and by voters at once; then one is replaced, one demoted, one removed. */
static void grows(void) {
    oar_cluster *c = cluster_of(1, NULL);
    oar_client *client = client_of(c);
    oar_change added[3], again;
    OAR_INIT(&again);
    propose_some(client, 10);
    for (int i = 0; i < 3; i++) {
        OAR_INIT(&added[i]);
        OK(oar_cluster_add(c, &added[i]));
        CHECK(added[i].kind == OAR_CHANGE_ADD_VOTER && added[i].id == (uint64_t)i + 2 && added[i].address[0] != '\0');
        OK(oar_cluster_start(c, added[i].id));
    }
    added[0].kind = OAR_CHANGE_ADD_LEARNER;
    oar_membership m = change(client, added, 1);
    CHECK(m.voters == 1 && m.learners == 1 && m.members == 2 && m.index > OAR_FROM_BIRTH);
    oar_order late = ordered(&added[1], 1);
    late.from = OAR_FROM_BIRTH; /* of two who start from there, the second */
    SAYS(refused(client, &late), OAR_ERR_CHANGE_MOVED, "born with");
    CHECK(roles_of(client, 2, &added[0]) == OAR_MEMBER_LEARNER);
    oar_change promote = changed(OAR_CHANGE_PROMOTE, 2);
    m = change(client, &promote, 1);
    CHECK(m.voters == 2 && roles_of(client, 2, &added[0]) == OAR_MEMBER_VOTER);
    CHECK(change(client, &promote, 1).index == m.index); /* asked again */
    m = change(client, &added[1], 2);
    CHECK(m.voters == 4 && m.learners == 0);
    OK(oar_cluster_settle(c, PATIENCE));
    for (uint64_t id = 1; id <= 4; id++) CHECK(GET(machines[id][0].sum) == 10);

    uint64_t lost = leader(c) % 4 + 1;
    SAYS(oar_cluster_replace(c, lost, &again), OAR_ERR_ORDER, "runs");
    OK(oar_cluster_crash(c, lost));
    OK(oar_cluster_replace(c, lost, &again));
    CHECK(again.kind == OAR_CHANGE_REPLACE && again.id == lost);
    OK(oar_cluster_start(c, lost));
    oar_order forced = ordered(&again, 1);
    forced.flags = OAR_ORDER_FORCED; /* the others may have heard of it a moment ago */
    OK(oar_client_change_membership(client, &forced, PATIENCE, NULL, NULL));
    CHECK(roles_of(client, lost, &again) == OAR_MEMBER_VOTER);
    propose_some(client, 5);
    OK(oar_cluster_settle(c, PATIENCE));
    CHECK(GET(machines[lost][made[lost] - 1].sum) == 15);

    oar_change less[2] = {changed(OAR_CHANGE_DEMOTE, lost), changed(OAR_CHANGE_REMOVE, lost % 4 + 1)};
    if (less[1].id == leader(c)) less[1].id = less[1].id % 4 + 1;
    if (less[1].id == lost) less[1].id = lost % 4 + 1;
    m = change(client, less, 2);
    CHECK(m.voters == 2 && m.learners == 1 && roles_of(client, less[1].id, NULL) == 0);
    oar_server *gone = server_of(c, less[1].id);
    EVENTUALLY(info_of(gone).flags & OAR_GROUP_REMOVED);
    propose_some(client, 5);
    OK(oar_cluster_settle(c, PATIENCE)); /* who was removed is not waited for */
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
}

/* ---- Refusals and plans ---- */

static oar_plan planned(oar_client *client, const oar_order *o, void **result, size_t *len) {
    oar_plan p;
    OAR_INIT(&p);
    OK(oar_client_plan_membership(client, o, PATIENCE, result, len));
    OK(oar_plan_read(*result, *len, &p));
    return p;
}

static void plans(void) {
    oar_cluster *c = calm_three();
    oar_client *client = client_of(c);
    oar_change added;
    OAR_INIT(&added);
    propose_some(client, 1);
    OK(oar_cluster_settle(c, PATIENCE));
    OK(oar_cluster_add(c, &added));
    oar_order o = ordered(&added, 1);
    void *result;
    size_t len, stage_len;
    const void *stage;
    oar_plan p = planned(client, &o, &result, &len);
    CHECK(p.refused == OAR_OK && p.refused_text[0] == '\0' && p.committed == 1 && p.stages == 3 && p.members == 4);
    CHECK(p.before == 1 && p.during == 1 && p.after == 1);
    oar_plan_member one;
    oar_membership m;
    OAR_INIT(&one);
    OAR_INIT(&m);
    for (uint32_t i = 0; i < p.members; i++) {
        OK(oar_plan_member_read(result, len, i, &one));
        CHECK(one.id == i + 1 && one.address[0] != '\0' && (one.flags & OAR_PLAN_WILL_VOTE));
        CHECK(((one.flags & OAR_PLAN_VOTES) != 0) == (one.id != 4) && ((one.flags & OAR_PLAN_HEARD) != 0) == (one.id != 4));
        CHECK((one.silent < 0) == (one.id == 4));
    }
    CHECK(memcmp(one.store, added.store, 16) == 0 && strcmp(one.address, added.address) == 0);
    IS(oar_plan_member_read(result, len, p.members, &one), OAR_ERR_NOT_FOUND);
    const uint32_t flags[] = {0, OAR_MEMBERSHIP_CHANGING, OAR_MEMBERSHIP_CHANGING | OAR_MEMBERSHIP_JOINT, 0}, voters[] = {3, 3, 4, 4};
    for (uint32_t i = 0; i <= p.stages; i++) {
        OK(oar_plan_stage(result, len, i, &stage, &stage_len));
        OK(oar_membership_read(stage, stage_len, &m));
        if (m.flags != flags[i] || m.voters != voters[i] || m.index != 0)
            fail_at(__FILE__, __LINE__, "stage %u: flags %u, %u voters, index %llu", i, m.flags, m.voters, (unsigned long long)m.index);
    }
    IS(oar_plan_stage(result, len, p.stages + 1, &stage, &stage_len), OAR_ERR_NOT_FOUND);
    CHECK(stage == NULL && stage_len == 0);
    oar_free(result);
    CHECK(roles_of(client, 4, NULL) == 0); /* nothing was done */

    o.from = OAR_FROM_BIRTH; /* as in the beginning */
    CHECK(planned(client, &o, &result, &len).refused == OAR_OK);
    oar_free(result);
    o.from = 999999;
    p = planned(client, &o, &result, &len);
    CHECK(p.refused == OAR_ERR_CHANGE_MOVED && p.refused_text[0] != '\0');
    oar_free(result);
    IS(refused(client, &o), OAR_ERR_CHANGE_MOVED);
    oar_change none[3] = {changed(OAR_CHANGE_REMOVE, 1), changed(OAR_CHANGE_REMOVE, 2), changed(OAR_CHANGE_REMOVE, 3)};
    o = ordered(none, 3);
    SAYS(refused(client, &o), OAR_ERR_CHANGE_IMPOSSIBLE, "voter");
    CHECK(class_bits() == 0);

    uint64_t down = leader(c) % 3 + 1, other = 6 - down - leader(c);
    OK(oar_cluster_stop(c, down)); /* two are left; without one of these, no majority of what is wanted is heard of */
    oar_change one_less = changed(OAR_CHANGE_REMOVE, other);
    o = ordered(&one_less, 1);
    void *unsafe;
    size_t unsafe_len;
    EVENTUALLY(planned(client, &o, &unsafe, &unsafe_len).refused == OAR_ERR_CHANGE_UNSAFE || (oar_free(unsafe), false));
    p = (oar_plan){sizeof p, 0, NULL, 0, 0, 0, 0, 0, 0};
    OK(oar_plan_read(unsafe, unsafe_len, &p));
    CHECK(p.before == 0 && p.after < 0);
    oar_free(unsafe);
    IS(refused(client, &o), OAR_ERR_CHANGE_UNSAFE);
    CHECK(class_bits() == OAR_CLASS_RETRYABLE);
    OK(oar_cluster_start(c, down));
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
}

/* A newcomer that does not run: the change is open, another one is refused, and it is cancelled; or given up by itself. */
static void given_up(void) {
    oar_config *config = calm();
    set(config, "timing.join_timeout", "2m");
    oar_cluster *c = cluster_of(3, config);
    oar_client *client = client_of(c);
    oar_queue *queue;
    oar_completion done;
    oar_change added, remove = changed(OAR_CHANGE_REMOVE, 3);
    size_t n;
    oar_order o;
    OAR_INIT(&added);
    OK(oar_queue_new(&queue));
    propose_some(client, 1);
    OK(oar_cluster_add(c, &added));
    o = ordered(&added, 1);
    SAYS(oar_client_order_queued(client, &o, queue, 7), OAR_ERR_ARGUMENT, "kind");
    o.kind = OAR_ORDER_CHANGE;
    OK(oar_client_order_queued(client, &o, queue, 7));
    EVENTUALLY(info_of(server_of(c, leader(c))).flags & OAR_GROUP_CHANGING);
    CHECK(roles_of(client, 4, &added) == OAR_MEMBER_WANTED_VOTER);
    o = ordered(&remove, 1);
    IS(refused(client, &o), OAR_ERR_CHANGE_OPEN);
    oar_order cancel;
    OAR_INIT(&cancel);
    cancel.flags = OAR_ORDER_CANCEL;
    OK(oar_client_change_membership(client, &cancel, PATIENCE, NULL, NULL));
    OK(oar_queue_next(queue, PATIENCE, &done, sizeof done, 1, &n));
    CHECK(n == 1 && done.tag == 7 && done.status == OAR_ERR_CHANGE_GIVEN_UP && done.result == NULL);
    HAS(done.text, "given up");
    CHECK(roles_of(client, 4, NULL) == 0);
    OK(oar_queue_free(queue));
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));

    set(config, "timing.join_timeout", "2s");
    memset(made, 0, sizeof made);
    c = cluster_of(1, config);
    oar_events *events;
    oar_event e;
    OAR_INIT(&e);
    OK(oar_events_open(server_of(c, 1), NULL, &events));
    client = client_of(c);
    propose_some(client, 1);
    OK(oar_cluster_add(c, &added));
    o = ordered(&added, 1);
    SAYS(refused(client, &o), OAR_ERR_CHANGE_GIVEN_UP, "server 2");
    do OK(oar_events_next(events, PATIENCE, &e));
    while (e.kind != OAR_EVENT_CHANGE_GIVEN_UP);
    CHECK(e.server == 2 && e.index > 0 && e.text[0] != '\0');
    OK(oar_events_free(events));
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
    OK(oar_config_free(config));
}

/* ---- Leadership ---- */

static void ended(void *user_data, const oar_completion *c) {
    CHECK(c->status == OAR_OK && c->result_len == 0);
    ADD(*(int *)user_data);
}

static void transfers(void) {
    oar_cluster *c = calm_three();
    oar_client *client = client_of(c);
    propose_some(client, 3);
    OK(oar_cluster_settle(c, PATIENCE));
    for (int round = 0; round < 4; round++) {
        uint64_t old = leader(c), to = old % 3 + 1;
        if (round % 2) {
            oar_status status = oar_transfer_leadership(server_of(c, old), 0, to, PATIENCE);
            CHECK(status == OAR_OK || status == OAR_ERR_NOT_LEADER || status == OAR_ERR_TRANSFER_FAILED);
        } else {
            OK(oar_client_transfer_leadership(client, to, PATIENCE));
            EVENTUALLY(leader(c) == to);
            OK(oar_client_transfer_leadership(client, to, PATIENCE)); /* it leads */
        }
        propose_some(client, 1);
    }
    SAYS(oar_client_transfer_leadership(client, 9, PATIENCE), OAR_ERR_TRANSFER_TARGET, "9");
    uint64_t old = leader(c);
    oar_order o;
    int called = 0;
    OAR_INIT(&o);
    o.kind = OAR_ORDER_STEP_DOWN;
    oar_status status = oar_order_async(server_of(c, old), &o, ended, &called);
    OK(status);
    EVENTUALLY(GET(called) == 1);
    status = oar_step_down(server_of(c, old), 0, PATIENCE);
    CHECK(status == OAR_ERR_NOT_LEADER || status == OAR_ERR_NO_LEADER);
    CHECK(leader(c) != old);
    OK(oar_client_step_down(client, PATIENCE));
    propose_some(client, 1);
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
    /* Alone it gives leadership up to nobody, and takes it again. */
    memset(made, 0, sizeof made);
    c = cluster_of(1, NULL);
    CHECK(leader(c) == 1);
    oar_call *call;
    o.kind = OAR_ORDER_TRANSFER;
    OK(oar_order_start(server_of(c, 1), &o, &call));
    IS(oar_call_wait(call, PATIENCE, NULL, NULL), OAR_ERR_TRANSFER_TARGET);
    OK(oar_call_free(call));
    OK(oar_step_down(server_of(c, 1), 0, PATIENCE));
    CHECK(leader(c) == 1);
    IS(oar_step_down(server_of(c, 1), 0, 0), OAR_ERR_NOT_SENT);
    OK(oar_cluster_free(c));
}

/* A preferred server takes over by itself. */
static void priorities(void) {
    oar_config *config;
    OK(oar_config_new(&config));
    set(config, "timing.election_timeout_min", "100ms");
    set(config, "timing.election_timeout_max", "200ms");
    set(config, "timing.heartbeat_interval", "20ms");
    set(config, "member.2.priority", "9");
    oar_cluster *c = cluster_of(3, config);
    OK(oar_config_free(config));
    EVENTUALLY(leader(c) == 2);
    CHECK(info_of(server_of(c, 2)).priority == 9 && info_of(server_of(c, 1)).priority == 0);
    OK(oar_cluster_free(c));
}

/* ---- Bytes that are no answers ---- */

static void malformed(void) {
    oar_cluster *c = cluster_of(3, NULL);
    oar_client *client = client_of(c);
    oar_membership m;
    oar_member one;
    oar_plan p;
    oar_plan_member q;
    const void *stage;
    void *bytes[2];
    size_t len[2], stage_len;
    oar_order o;
    OAR_INIT(&m);
    OAR_INIT(&one);
    OAR_INIT(&p);
    OAR_INIT(&q);
    OAR_INIT(&o);
    o.flags = OAR_ORDER_CANCEL;
    OK(oar_client_members(client, PATIENCE, &bytes[0], &len[0]));
    OK(oar_client_plan_membership(client, &o, PATIENCE, &bytes[1], &len[1]));
    IS(oar_membership_read(bytes[1], len[1], &m), OAR_ERR_MALFORMED); /* the other kind */
    IS(oar_plan_read(bytes[0], len[0], &p), OAR_ERR_MALFORMED);
    IS(oar_plan_stage(bytes[0], len[0], 0, &stage, &stage_len), OAR_ERR_MALFORMED);
    IS(oar_membership_read(NULL, 0, &m), OAR_ERR_MALFORMED);
    IS(oar_plan_read("plan", 4, &p), OAR_ERR_MALFORMED);
    for (int k = 0; k < 2; k++) {
        for (size_t cut = 0; cut < len[k]; cut++) { /* cut short, in memory of that length */
            unsigned char *shorter = malloc(cut + 1);
            CHECK(shorter != NULL);
            memcpy(shorter, bytes[k], cut);
            IS(oar_membership_read(shorter, cut, &m), OAR_ERR_MALFORMED);
            IS(oar_plan_read(shorter, cut, &p), OAR_ERR_MALFORMED);
            free(shorter);
        }
        unsigned char *copy = malloc(len[k]);
        CHECK(copy != NULL);
        for (size_t at = 0; at < len[k]; at++) { /* any byte another one: whatever is said, nothing outside is read */
            memcpy(copy, bytes[k], len[k]);
            copy[at] ^= 0xff;
            (void)oar_membership_read(copy, len[k], &m);
            (void)oar_plan_read(copy, len[k], &p);
            for (uint32_t i = 0; i < 4; i++) {
                if (oar_member_read(copy, len[k], i, &one) == OAR_OK) CHECK(strlen(one.address) < len[k]);
                if (oar_plan_member_read(copy, len[k], i, &q) == OAR_OK) CHECK(strlen(q.address) < len[k]);
                if (oar_plan_stage(copy, len[k], i, &stage, &stage_len) == OAR_OK) (void)oar_membership_read(stage, stage_len, &m);
            }
        }
        free(copy);
        oar_free(bytes[k]);
    }
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
}

/* ---- Configured servers, on disk ---- */

static void joins(void) {
    struct machine disk[3];
    oar_server *servers[3] = {NULL, NULL, NULL};
    oar_client *client;
    oar_config *config = cluster(2, false);
    char address[32];
    for (int i = 0; i < 3; i++) machine_init(&disk[i]);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", free_ports(1));
    set(config, "member.3.address", address);
    set(config, "member.3.data", "data/3");
    set(config, "member.3.founder", "false");
    OK(oar_server_format_joining(config, 3));
    IS(oar_server_format_joining(config, 3), OAR_ERR_FORMATTED);
    IS(oar_server_format_joining(config, 4), OAR_ERR_NOT_FOUND);
    for (int i = 0; i < 3; i++) servers[i] = started(config, (uint64_t)i + 1, &machine_full, &disk[i]);
    OK(oar_client_open(config, NULL, &client));
    propose_some(client, 7);
    oar_identity who, other;
    OAR_INIT(&who);
    OAR_INIT(&other);
    OK(oar_server_identity(servers[2], &who));
    OK(oar_server_identity(servers[0], &other));
    CHECK(who.server == 3 && memcmp(who.cluster, other.cluster, 16) == 0 && memcmp(who.store, other.store, 16) != 0);
    oar_change add_it = changed(OAR_CHANGE_ADD_VOTER, 3);
    memcpy(add_it.store, who.store, 16);
    add_it.address = address;
    CHECK(change(client, &add_it, 1).voters == 3);
    OK(oar_server_wait_ready(servers[2], PATIENCE));
    CHECK(sum_of(servers[2]) == 7); /* also where it does not lead */
    OK(oar_server_free(servers[0])); /* two are a majority of three */
    propose_some(client, 1);
    CHECK(sum_of(servers[2]) == 8);
    OK(oar_client_free(client));
    OK(oar_server_free(servers[1]));
    OK(oar_server_free(servers[2]));
    OK(oar_config_free(config));
}

const struct phase members_phases[] = {
    {"members.grow", grows},     {"members.plan", plans},         {"members.given-up", given_up}, {"members.transfer", transfers},
    {"members.priority", priorities}, {"members.malformed", malformed}, {"members.join", joins},        {NULL, NULL},
};
