/* One server, from its store to its end. */
#include "harness.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static struct machine machine;

static void before_start(void) {
    char *json = BOGUS(char, 1), result[8];
    oar_group_info info;
    uint64_t session = 4;
    machine_init(&machine);
    oar_config *config = cluster(1, true);
    oar_server *server = opened(config, 1, &machine_plain, &machine);
    OAR_INIT(&info);
    SAYS(propose(server, "+1", result, sizeof result), OAR_ERR_ORDER, "oar_server_start");
    IS(oar_query(server, NULL, NULL, 0, PATIENCE, NULL, NULL), OAR_ERR_ORDER);
    IS(oar_barrier(server, 0, PATIENCE), OAR_ERR_ORDER);
    IS(oar_session_open(server, 0, PATIENCE, &session), OAR_ERR_ORDER);
    CHECK(session == 0);
    IS(oar_server_wait_ready(server, OAR_FOREVER), OAR_ERR_ORDER);
    IS(oar_server_wait_stopped(server, OAR_FOREVER), OAR_ERR_ORDER);
    IS(oar_server_group_info(server, 0, &info), OAR_ERR_ORDER);
    IS(oar_server_status_json(server, &json), OAR_ERR_ORDER);
    CHECK(json == NULL);
    IS(oar_server_snapshot(server, 0, PATIENCE), OAR_ERR_ORDER);
    OK(oar_server_start(server));
    IS(oar_server_start(server), OAR_ERR_ORDER);
    OK(oar_server_free(server));
    CHECK(machine.destroyed == 1);
    server = opened(config, 1, &machine_plain, &machine); /* opened and freed, and never started */
    OK(oar_server_free(server));
    CHECK(machine.destroyed == 2);
    server = opened(config, 1, &machine_plain, &machine);
    OK(oar_server_close(server));
    IS(oar_server_start(server), OAR_ERR_CLOSED);
    IS(oar_server_wait_stopped(server, OAR_FOREVER), OAR_ERR_CLOSED);
    OK(oar_server_free(server));
    OK(oar_config_free(config));
    IS(oar_server_free(server), OAR_ERR_HANDLE);
}

/* A copy of a configuration, at another port. */
static oar_config *moved(oar_config *config) {
    char *text, address[32];
    oar_config *copy;
    OK(oar_config_dump(config, &text));
    OK(oar_config_parse(text, strlen(text), NULL, &copy));
    oar_free(text);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", free_ports(1));
    set(copy, "member.1.address", address);
    return copy;
}

static void stores(void) {
    oar_config *config;
    machine_init(&machine);
    OK(oar_config_generate(1, "data", (uint16_t)free_ports(1), &config));
    oar_server *server = opened(config, 1, &machine_plain, &machine);
    SAYS(oar_server_start(server), OAR_ERR_NOT_FORMATTED, "data");
    OK(oar_server_format(config, 1));
    SAYS(oar_server_format(config, 1), OAR_ERR_FORMATTED, "data");
    OK(oar_server_start(server)); /* the same handle, after a failure */
    OK(oar_server_wait_ready(server, PATIENCE));
    add(server, 1, 1);
    oar_config *other = moved(config);
    oar_server *second = opened(other, 1, &machine_plain, &machine);
    SAYS(oar_server_start(second), OAR_ERR_IN_USE, "data");
    CHECK(class_bits() & OAR_CLASS_RETRYABLE);
    add(server, 1, 2);
    OK(oar_server_free(server));
    machine.sum = 0;
    OK(oar_server_start(second));
    OK(oar_server_wait_ready(second, PATIENCE));
    CHECK(sum_of(second) == 2);
    OK(oar_server_free(second));
    OK(oar_config_free(other));
    OK(oar_config_free(config));
}

static void address_taken(void) {
    machine_init(&machine);
    oar_config *config = cluster(1, true);
    oar_server *first = started(config, 1, &machine_plain, &machine);
    oar_server *second = opened(config, 1, &machine_plain, &machine);
    char *address;
    OK(oar_config_value(config, "member.1.address", &address));
    SAYS(oar_server_start(second), OAR_ERR_ADDRESS, address);
    oar_free(address);
    oar_error_detail d;
    OAR_INIT(&d);
    OK(oar_last_error_detail(&d));
    CHECK(d.system_error == EADDRINUSE && d.class_bits == OAR_CLASS_RETRYABLE);
    IS(oar_barrier(second, 0, PATIENCE), OAR_ERR_ORDER); /* not started */
    OK(oar_server_free(first));
    OK(oar_server_start(second));
    OK(oar_server_wait_ready(second, PATIENCE));
    OK(oar_server_free(second));
    OK(oar_config_free(config));
}

static void answers(void) {
    char result[64];
    void *bytes = NULL;
    size_t len = 9;
    machine_init(&machine);
    oar_server *server = single(&machine_plain, &machine);
    add(server, 5, 5);
    add(server, -7, -2);
    CHECK(sum_of(server) == -2);
    OK(propose(server, "empty", result, sizeof result));
    CHECK(result[0] == '\0');
    OK(oar_propose(server, NULL, "empty", 5, OAR_FOREVER, &bytes, &len));
    CHECK(len == 0); /* and bytes may be NULL */
    oar_free(bytes);
    OK(propose(server, "pieces", result, sizeof result));
    CHECK(strcmp(result, "pieces") == 0);
    OK(oar_propose(server, NULL, NULL, 0, OAR_FOREVER, &bytes, &len)); /* an empty command */
    CHECK(len == 2 && memcmp(bytes, "-2", 2) == 0);
    oar_free(bytes);
    OK(oar_barrier(server, OAR_GROUP_DEFAULT, OAR_FOREVER));
    oar_query_options stale;
    OAR_INIT(&stale);
    stale.consistency = OAR_STALE, stale.group = OAR_GROUP_DEFAULT;
    OK(oar_query(server, &stale, "", 0, PATIENCE, &bytes, &len));
    CHECK(len == 2 && memcmp(bytes, "-2", 2) == 0);
    oar_free(bytes);
    SAYS(oar_propose(server, NULL, "+1", 2, 0, &bytes, &len), OAR_ERR_NOT_SENT, "0");
    CHECK(cause() == OAR_ERR_TIMEOUT && bytes == NULL && len == 0);
    IS(oar_barrier(server, 7, PATIENCE), OAR_ERR_NO_GROUP);
    CHECK(sum_of(server) == -2);
    OK(oar_server_free(server));
}

static void looks(void) {
    char *json;
    machine_init(&machine);
    oar_server *server = single(&machine_plain, &machine);
    oar_group_info before = info_of(server), info;
    CHECK(before.group == 1 && before.role == OAR_ROLE_LEADER && before.leader == 1 && before.voters == 1 && before.fenced == 0);
    add(server, 1, 1);
    add(server, 1, 2);
    EVENTUALLY(info_of(server).applied_index >= before.applied_index + 2); /* a result may come before it is counted */
    EVENTUALLY(info_of(server).commands == before.commands + 2);
    info = info_of(server);
    CHECK(info.term == before.term);
    CHECK(info.commit_index >= info.applied_index && info.last_index >= info.commit_index && info.learners == 0 && info.refused == 0);
    OAR_INIT(&info);
    IS(oar_server_group_info(server, 2, &info), OAR_ERR_NO_GROUP);
    OK(oar_server_status_json(server, &json));
    CHECK(json[0] == '{');
    HAS(json, "\"groups\":");
    HAS(json, "\"applied\":");
    HAS(json, "leader");
    oar_free(json);
    IS(oar_server_wait_stopped(server, 0), OAR_ERR_TIMEOUT);
    IS(oar_server_wait_stopped(server, 30 * OAR_MILLISECOND), OAR_ERR_TIMEOUT);
    OK(oar_server_wait_ready(server, 0));
    IS(oar_work_abandon(server), OAR_ERR_ORDER); /* its machine is pushed */
    OK(oar_server_free(server));
}

static void snapshot_and_reopen(void) {
    machine_init(&machine);
    oar_config *config = cluster(1, false);
    oar_server *server = started(config, 1, &machine_full, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    for (long i = 1; i <= 10; i++) add(server, 1, i);
    OK(oar_server_snapshot(server, 0, OAR_FOREVER));
    CHECK(info_of(server).snapshot_index > 0 && GET(machine.written) == 1);
    EVENTUALLY(GET(machine.released) == 1);
    OK(oar_server_snapshot(server, 0, OAR_FOREVER)); /* nothing new */
    CHECK(GET(machine.written) == 1);
    for (long i = 11; i <= 13; i++) add(server, 1, i);
    int applied = GET(machine.applied);
    CHECK(applied == 13);
    OK(oar_server_close(server));
    OK(oar_server_free(server));
    CHECK(machine.destroyed == 1 && machine.released == machine.prepared);
    machine.sum = 0;
    server = started(config, 1, &machine_full, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    CHECK(sum_of(server) == 13 && GET(machine.restored) == 1 && GET(machine.applied) == applied + 3);
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

static void ends(void) {
    char *json, result[8];
    oar_group_info info;
    machine_init(&machine);
    oar_server *server = single(&machine_plain, &machine);
    OK(oar_server_close(server));
    OK(oar_server_close(server));
    IS(propose(server, "+1", result, sizeof result), OAR_ERR_CLOSED);
    IS(oar_query(server, NULL, NULL, 0, PATIENCE, NULL, NULL), OAR_ERR_CLOSED);
    IS(oar_barrier(server, 0, PATIENCE), OAR_ERR_CLOSED);
    IS(oar_session_keep(server, 0, 1, PATIENCE), OAR_ERR_CLOSED);
    IS(oar_server_start(server), OAR_ERR_CLOSED);
    IS(oar_server_wait_stopped(server, OAR_FOREVER), OAR_ERR_CLOSED);
    IS(oar_server_wait_stopped(server, 0), OAR_ERR_CLOSED);
    IS(oar_server_wait_ready(server, OAR_FOREVER), OAR_ERR_CLOSED);
    IS(oar_server_snapshot(server, 0, PATIENCE), OAR_ERR_CLOSED);
    OAR_INIT(&info); /* looks are still allowed, or say that it is closed */
    oar_status status = oar_server_group_info(server, 0, &info);
    CHECK(status == OAR_OK || status == OAR_ERR_CLOSED);
    status = oar_server_status_json(server, &json);
    CHECK(status == OAR_OK || status == OAR_ERR_CLOSED);
    oar_free(json);
    OK(oar_server_free(server));
    IS(oar_server_free(server), OAR_ERR_HANDLE);
    IS(propose(server, "+1", result, sizeof result), OAR_ERR_HANDLE);
    CHECK(machine.destroyed == 1 && machine.applied == 0);
}

static void shutdown_all(void) {
    struct machine other;
    oar_client *client;
    machine_init(&machine);
    machine_init(&other);
    OK(oar_shutdown(OAR_FOREVER)); /* of nothing */
    oar_server *a = single(&machine_plain, &machine), *b = single(&machine_plain, &other);
    oar_config *config = cluster(1, true);
    OK(oar_client_open(config, NULL, &client));
    OK(oar_shutdown(PATIENCE));
    IS(oar_barrier(a, 0, PATIENCE), OAR_ERR_CLOSED);
    IS(oar_barrier(b, 0, PATIENCE), OAR_ERR_CLOSED);
    IS(oar_client_barrier(client, PATIENCE), OAR_ERR_CLOSED);
    CHECK(counts().servers == 2);
    OK(oar_server_free(a));
    OK(oar_server_free(b));
    OK(oar_client_free(client));
    OK(oar_config_free(config));
    a = single(&machine_plain, &machine); /* the library can be used again */
    OK(oar_barrier(a, 0, PATIENCE));
    OK(oar_server_free(a));
}

const struct phase one_phases[] = {
    {"one.before-start", before_start}, {"one.stores", stores}, {"one.address-taken", address_taken},
    {"one.answers", answers},           {"one.looks", looks},   {"one.snapshot-and-reopen", snapshot_and_reopen},
    {"one.ends", ends},                 {"one.shutdown", shutdown_all}, {NULL, NULL},
};
