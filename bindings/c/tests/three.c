/* Three servers in one process, on disk, and clients. */
#include "harness.h"

enum { N = 3 };
static struct machine machines[N];
static oar_config *config;
static oar_server *servers[N];

static void begin(bool memory) {
    config = cluster(N, memory);
    for (int i = 0; i < N; i++) {
        machine_init(&machines[i]);
        servers[i] = started(config, (uint64_t)i + 1, &machine_full, &machines[i]);
    }
    for (int i = 0; i < N; i++) OK(oar_server_wait_ready(servers[i], PATIENCE));
}

static void end(void) {
    for (int i = 0; i < N; i++) OK(oar_server_free(servers[i]));
    OK(oar_config_free(config));
    for (int i = 0; i < N; i++) CHECK(machines[i].destroyed >= 1);
}

static long client_sum(oar_client *client) {
    char text[32] = "";
    void *got;
    size_t len;
    OK(oar_client_query(client, NULL, NULL, 0, PATIENCE, &got, &len));
    memcpy(text, got, len);
    oar_free(got);
    return atol(text);
}

static void client_add(oar_client *client, long sum) {
    char text[32] = "";
    void *got;
    size_t len;
    OK(oar_client_propose(client, NULL, "+1", 2, PATIENCE, &got, &len));
    memcpy(text, got, len);
    oar_free(got);
    if (atol(text) != sum) fail_at(__FILE__, __LINE__, "the sum is %s, not %ld: executed twice, or not at all", text, sum);
}

/* Somebody who does not lead says who does. */
static void not_leader(void) {
    begin(true);
    for (int tries = 0;; tries++) {
        int leader = leader_of(servers, N), other = (leader + 1) % N;
        oar_error_detail d;
        char *address, key[32], result[8];
        oar_status status = propose(servers[other], "+1", result, sizeof result);
        OAR_INIT(&d);
        OK(oar_last_error_detail(&d));
        if ((status != OAR_ERR_NOT_LEADER || d.leader != (uint64_t)leader + 1) && tries < 50) continue; /* it has changed */
        IS(status, OAR_ERR_NOT_LEADER);
        CHECK(d.class_bits == (OAR_CLASS_RETRYABLE | OAR_CLASS_REDIRECT) && d.cause == OAR_ERR_NOT_LEADER);
        (void)snprintf(key, sizeof key, "member.%d.address", leader + 1);
        OK(oar_config_value(config, key, &address));
        CHECK(strcmp(address, d.leader_address) == 0);
        oar_free(address);
        oar_query_options stale; /* any server answers these */
        OAR_INIT(&stale);
        stale.consistency = OAR_STALE;
        OK(oar_query(servers[other], &stale, NULL, 0, PATIENCE, NULL, NULL));
        CHECK(sum_of(servers[other]) >= 0); /* and these, too: it asks the leader */
        oar_group_info info = info_of(servers[other]);
        CHECK(info.voters == N && info.group == 1);
        break;
    }
    end();
}

struct done {
    int called;
    oar_status status;
    uint64_t leader;
    char address[64];
};
static void note(void *user_data, const oar_completion *c) {
    struct done *d = user_data;
    d->status = c->status;
    d->leader = c->leader;
    (void)snprintf(d->address, sizeof d->address, "%s", c->leader_address);
    ADD(d->called);
}

/* The same in a completion. */
static void not_leader_completion(void) {
    begin(true);
    for (int tries = 0;; tries++) {
        struct done d;
        int leader = leader_of(servers, N);
        memset(&d, 0, sizeof d);
        OK(oar_propose_async(servers[(leader + 1) % N], NULL, "+1", 2, note, &d));
        EVENTUALLY(GET(d.called) == 1);
        if ((d.status != OAR_ERR_NOT_LEADER || d.leader != (uint64_t)leader + 1) && tries < 50) continue;
        CHECK(d.status == OAR_ERR_NOT_LEADER && d.leader == (uint64_t)leader + 1 && strncmp(d.address, "127.0.0.1:", 10) == 0);
        break;
    }
    end();
}

/* The leader is freed, and later started again; a client goes on over both changes. */
static void leader_goes(void) {
    oar_client *client;
    long sum = 0;
    begin(false);
    OK(oar_client_open(config, NULL, &client));
    for (int i = 0; i < 20; i++) client_add(client, ++sum);
    int leader = leader_of(servers, N);
    OK(oar_server_free(servers[leader]));
    servers[leader] = NULL;
    for (int i = 0; i < 20; i++) client_add(client, ++sum);
    CHECK(client_sum(client) == sum);
    int next = leader_of(servers, N);
    CHECK(next != leader && sum_of(servers[next]) == sum);
    machines[leader].sum = 0;
    servers[leader] = started(config, (uint64_t)leader + 1, &machine_full, &machines[leader]);
    OK(oar_server_wait_ready(servers[leader], PATIENCE));
    EVENTUALLY(GET(machines[leader].sum) == sum); /* it catches up */
    client_add(client, ++sum);
    OK(oar_client_barrier(client, PATIENCE));
    OK(oar_client_free(client));
    for (int i = 0; i < N; i++) EVENTUALLY(GET(machines[i].sum) == sum);
    end();
}

static void looks(void) {
    oar_client *client;
    char *json;
    begin(true);
    OK(oar_client_open(config, NULL, &client));
    OK(oar_client_status_json(client, PATIENCE, &json));
    CHECK(json[0] == '{');
    oar_free(json);
    OK(oar_client_members_json(client, PATIENCE, &json));
    for (int i = 0; i < N; i++) {
        char *address, key[32];
        (void)snprintf(key, sizeof key, "member.%d.address", i + 1);
        OK(oar_config_value(config, key, &address));
        HAS(json, address);
        oar_free(address);
    }
    oar_free(json);
    OK(oar_client_close(client));
    OK(oar_client_close(client));
    IS(oar_client_status_json(client, PATIENCE, &json), OAR_ERR_CLOSED);
    CHECK(json == NULL);
    IS(oar_client_propose(client, NULL, "+1", 2, PATIENCE, NULL, NULL), OAR_ERR_CLOSED);
    OK(oar_client_free(client));
    end();
}

static void addresses(char *list, size_t room) {
    list[0] = '\0';
    for (int i = 0; i < N; i++) {
        char *address, key[32];
        (void)snprintf(key, sizeof key, "member.%d.address", i + 1);
        OK(oar_config_value(config, key, &address));
        (void)snprintf(list + strlen(list), room - strlen(list), "%s%s", i == 0 ? "" : ", ", address);
        oar_free(address);
    }
}

/* A client that knows addresses only, one of another cluster, and one without a session. */
static void clients(void) {
    oar_client_options o;
    oar_client *client;
    oar_config *other;
    char list[200];
    begin(true);
    addresses(list, sizeof list);
    OAR_INIT(&o);
    o.servers = list;
    OK(oar_client_open(NULL, &o, &client));
    client_add(client, 1);
    OK(oar_client_free(client));
    OK(oar_config_generate(1, "x", 7000, &other)); /* another cluster id */
    OK(oar_client_open(other, &o, &client));
    oar_status status = oar_client_propose(client, NULL, "+1", 2, 20 * OAR_SECOND, NULL, NULL);
    CHECK(status == OAR_ERR_CLUSTER || status == OAR_ERR_NOT_SENT);
    HAS(oar_last_error(), "cluster");
    OK(oar_client_free(client));
    OK(oar_config_free(other));
    o.flags = OAR_CLIENT_SESSIONLESS;
    OK(oar_client_open(config, &o, &client));
    for (long i = 2; i < 6; i++) client_add(client, i);
    CHECK(client_sum(client) == 5);
    oar_propose_options p;
    OAR_INIT(&p);
    p.group = 1;
    IS(oar_client_propose(client, &p, "+1", 2, OAR_SECOND, NULL, NULL), OAR_ERR_ARGUMENT);
    p.group = 0, p.session = 1, p.sequence = 1;
    SAYS(oar_client_propose(client, &p, "+1", 2, OAR_SECOND, NULL, NULL), OAR_ERR_ARGUMENT, "session");
    OK(oar_client_free(client));
    o.servers = "";
    status = oar_client_open(NULL, &o, &client);
    CHECK(status != OAR_OK && client == NULL);
    end();
}

/* Nobody is there: the time that was given is what ends it. */
static void nobody(void) {
    oar_client *client;
    config = cluster(1, true);
    OK(oar_client_open(config, NULL, &client));
    SAYS(oar_client_propose(client, NULL, "+1", 2, 200 * OAR_MILLISECOND, NULL, NULL), OAR_ERR_NOT_SENT, "");
    CHECK(cause() == OAR_ERR_TIMEOUT);
    oar_status status = oar_client_query(client, NULL, NULL, 0, 200 * OAR_MILLISECOND, NULL, NULL);
    CHECK(status == OAR_ERR_NOT_SENT || status == OAR_ERR_TIMEOUT);
    CHECK(cause() == OAR_ERR_TIMEOUT);
    IS(oar_client_propose(client, NULL, "+1", 2, 0, NULL, NULL), OAR_ERR_NOT_SENT);
    OK(oar_client_free(client));
    OK(oar_config_free(config));
}

/* Without a majority nothing is done, and it is said so. */
static void no_majority(void) {
    begin(true);
    int leader = leader_of(servers, N);
    for (int i = 0; i < N; i++)
        if (i != leader) OK(oar_server_close(servers[i]));
    oar_status status = oar_propose(servers[leader], NULL, "+1", 2, PATIENCE, NULL, NULL);
    CHECK(oar_status_class(status) & (OAR_CLASS_MAYBE_COMMITTED | OAR_CLASS_RETRYABLE)); /* it steps down */
    EVENTUALLY(oar_propose(servers[leader], NULL, "+1", 2, OAR_SECOND, NULL, NULL) == OAR_ERR_NO_LEADER);
    status = oar_query(servers[leader], NULL, NULL, 0, OAR_SECOND, NULL, NULL);
    CHECK(status == OAR_ERR_NO_LEADER || status == OAR_ERR_TIMEOUT);
    CHECK(GET(machines[leader].sum) == 0);
    end();
}

const struct phase three_phases[] = {
    {"three.not-leader", not_leader},   {"three.not-leader-completion", not_leader_completion},
    {"three.leader-goes", leader_goes}, {"three.looks", looks},
    {"three.clients", clients},         {"three.nobody", nobody},
    {"three.no-majority", no_majority}, {NULL, NULL},
};
