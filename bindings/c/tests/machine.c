/* The state machine of the tests, and servers with it. */
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void hook(struct machine *m, const char *callback) {
    if (m->hook != NULL) m->hook(m, callback);
}

/* The text after `word` in a command, or NULL if it begins otherwise. */
static const char *after(const char *command, const char *word) {
    size_t len = strlen(word);
    return strncmp(command, word, len) == 0 ? command + len : NULL;
}

static oar_status big(oar_results *results, oar_buf *answer, size_t size) {
    char *bytes = malloc(size + 1);
    CHECK(bytes != NULL);
    memset(bytes, 'x', size);
    oar_status status = results != NULL ? oar_results_add(results, bytes, size) : oar_buf_append(answer, bytes, size);
    free(bytes);
    return status;
}

static oar_status too_many(oar_results *results, size_t left) {
    for (size_t i = 0; i < left; i++) OK(oar_results_add(results, "r", 1));
    IS(oar_results_add(results, "r", 1), OAR_ERR_ARGUMENT);
    IS(oar_results_append(results, "r", 1), OAR_ERR_ARGUMENT);
    IS(oar_results_end(results), OAR_ERR_ARGUMENT);
    return OAR_OK;
}

static oar_status execute(struct machine *m, const char *command, size_t left, oar_results *results) {
    const char *rest;
    char sum[32];
    if ((rest = after(command, "fail ")) != NULL) return oar_fail(rest);
    if (after(command, "empty") != NULL) return oar_results_end(results);
    if (after(command, "many") != NULL) return too_many(results, left);
    if ((rest = after(command, "big ")) != NULL) return big(results, NULL, strtoul(rest, NULL, 10));
    if (after(command, "pieces") != NULL) {
        OK(oar_results_append(results, "pie", 3));
        OK(oar_results_append(results, NULL, 0));
        OK(oar_results_append(results, "ces", 3));
        return oar_results_end(results);
    }
    if (after(command, "gate") != NULL) gate_pass(&m->gate);
    if ((rest = after(command, "sleep ")) != NULL) {
        int64_t until = now() + atol(rest) * OAR_MILLISECOND;
        while (now() < until) pause_a_little();
    }
    if ((rest = after(command, "+")) != NULL) PUT(m->sum, m->sum + atol(rest));
    int n = snprintf(sum, sizeof sum, "%ld", m->sum);
    return oar_results_add(results, sum, (size_t)n);
}

static oar_status apply(void *user_data, const oar_entry *entries, size_t count, oar_results *results) {
    struct machine *m = user_data;
    char command[256];
    hook(m, "apply");
    for (size_t i = 0; i < count; i++) {
        size_t len = entries[i].command_len < sizeof command - 1 ? entries[i].command_len : sizeof command - 1;
        CHECK(entries[i].reserved == 0 && (i == 0 || entries[i].index > entries[i - 1].index));
        if (len > 0) memcpy(command, entries[i].command, len);
        command[len] = '\0';
        oar_status status = execute(m, command, count - i, results);
        if (status != OAR_OK) return status;
        ADD(m->applied);
        if (after(command, "many") != NULL) return OAR_OK;
    }
    return OAR_OK;
}

static oar_status query(void *user_data, const void *question, size_t len, oar_buf *answer) {
    struct machine *m = user_data;
    char text[256] = "", *rest;
    hook(m, "query");
    if (len > 0) memcpy(text, question, len < sizeof text - 1 ? len : sizeof text - 1);
    ADD(m->queried);
    if ((rest = strchr(text, ' ')) != NULL && after(text, "fail ") != NULL) return oar_fail(rest + 1);
    if (rest != NULL && after(text, "big ") != NULL) return big(NULL, answer, strtoul(rest + 1, NULL, 10));
    if (after(text, "gate") != NULL) gate_pass(&m->gate);
    int n = snprintf(text, sizeof text, "%ld", GET(m->sum));
    return oar_buf_append(answer, text, (size_t)n);
}

static oar_status prepare(void *user_data, void **snapshot) {
    struct machine *m = user_data;
    hook(m, "snapshot_prepare");
    if (m->prepare_fails != NULL) return oar_fail(m->prepare_fails);
    ADD(m->prepared);
    *snapshot = malloc(sizeof(long));
    CHECK(*snapshot != NULL);
    memcpy(*snapshot, &m->sum, sizeof(long));
    return OAR_OK;
}

static oar_status write_snapshot(void *user_data, void *snapshot, oar_writer *writer) {
    struct machine *m = user_data;
    hook(m, "snapshot_write");
    OK(oar_writer_write(writer, NULL, 0));
    if (m->write_fails != NULL) return oar_fail(m->write_fails);
    oar_status status = oar_writer_write(writer, snapshot, sizeof(long));
    if (status == OAR_OK) ADD(m->written);
    return status;
}

static void release(void *user_data, void *snapshot) {
    struct machine *m = user_data;
    hook(m, "snapshot_release");
    ADD(m->released);
    free(snapshot);
}

static oar_status restore(void *user_data, oar_reader *reader) {
    struct machine *m = user_data;
    char bytes[64];
    size_t got = 0, len = 0;
    hook(m, "restore");
    if (m->restore_fails != NULL) return oar_fail(m->restore_fails);
    do {
        oar_status status = oar_reader_read(reader, bytes + len, 3, &got); /* in small pieces */
        if (status != OAR_OK) return status;
        len += got;
        CHECK(len + 3 <= sizeof bytes);
        if (m->restore_stops) return OAR_OK;
    } while (got > 0);
    CHECK(len == sizeof m->sum);
    memcpy(&m->sum, bytes, sizeof m->sum);
    ADD(m->restored);
    return OAR_OK;
}

static void destroy(void *user_data) { ADD(((struct machine *)user_data)->destroyed); }

const oar_state_machine machine_plain = {sizeof machine_plain, 0, apply, query, NULL, NULL, NULL, NULL, NULL, NULL, NULL, destroy};
const oar_state_machine machine_full = {sizeof machine_full, 0,    apply, query, prepare, write_snapshot,
                                        release,             restore, NULL,  NULL,  NULL,    destroy};

void machine_init(struct machine *m) {
    memset(m, 0, sizeof *m);
    (void)pthread_mutex_init(&m->gate.mutex, NULL);
    (void)pthread_cond_init(&m->gate.changed, NULL);
}

/* ---- Clusters ---- */

static bool can_listen(int port) {
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at;
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons((uint16_t)port);
    CHECK(s >= 0);
    (void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool ok = bind(s, (struct sockaddr *)&at, sizeof at) == 0;
    (void)close(s);
    return ok;
}

/* Below the ports that the system gives to connections, and another range for each process. */
int free_ports(int count) {
    static int next;
    if (next == 0) next = 10000 + (int)(getpid() * 37 % 22000);
    for (int found = 0, tries = 0; tries < 5000; tries++) {
        if (next > 32700) next = 10000, found = 0;
        found = can_listen(next++) ? found + 1 : 0;
        if (found == count) return next - count;
    }
    fail_at(__FILE__, __LINE__, "no %d free ports", count);
}

void set(oar_config *config, const char *key, const char *value) { OK(oar_config_set(config, key, value)); }

oar_config *cluster(unsigned members, bool memory) {
    oar_config *config;
    OK(oar_config_generate(members, "data", (uint16_t)free_ports((int)members), &config));
    /* Nobody is there whom a single server could miss; where there are several, a machine that stands still is no silence. */
    set(config, "timing.election_timeout_min", members == 1 ? "50ms" : "500ms");
    set(config, "timing.election_timeout_max", members == 1 ? "100ms" : "1s");
    set(config, "timing.heartbeat_interval", members == 1 ? "10ms" : "50ms");
    if (memory) set(config, "log.kind", "memory");
    for (unsigned id = 1; !memory && id <= members; id++) OK(oar_server_format(config, id));
    return config;
}

oar_config *calm(void) {
    oar_config *config;
    OK(oar_config_new(&config));
    set(config, "timing.election_timeout_min", "1500ms");
    set(config, "timing.election_timeout_max", "2s");
    set(config, "timing.heartbeat_interval", "50ms");
    return config;
}

oar_server *opened(oar_config *config, uint64_t id, const oar_state_machine *vtable, struct machine *m) {
    oar_server_options o;
    oar_server *server;
    OAR_INIT(&o);
    o.machine = vtable;
    o.machine_user_data = m;
    OK(oar_server_open(config, id, &o, &server));
    return server;
}

oar_server *started(oar_config *config, uint64_t id, const oar_state_machine *vtable, struct machine *m) {
    oar_server *server = opened(config, id, vtable, m);
    OK(oar_server_start(server));
    return server;
}

oar_server *single(const oar_state_machine *vtable, struct machine *m) {
    oar_config *config = cluster(1, true);
    oar_server *server = started(config, 1, vtable, m);
    OK(oar_config_free(config));
    OK(oar_server_wait_ready(server, PATIENCE));
    return server;
}

int leader_of(oar_server **servers, int count) {
    int64_t until = now() + PATIENCE;
    for (;; pause_a_little()) {
        for (int i = 0; i < count; i++)
            if (servers[i] != NULL && info_of(servers[i]).role == OAR_ROLE_LEADER && oar_barrier(servers[i], 0, OAR_SECOND) == OAR_OK) return i;
        if (now() > until) fail_at(__FILE__, __LINE__, "nobody leads");
    }
}

oar_status propose(oar_server *server, const char *command, char *result, size_t room) {
    void *got = NULL;
    size_t len = 0;
    oar_status status = oar_propose(server, NULL, command, strlen(command), PATIENCE, &got, &len);
    if (status != OAR_OK) CHECK(got == NULL && len == 0);
    if (result != NULL && status == OAR_OK) {
        CHECK(len < room);
        if (len > 0) memcpy(result, got, len);
        result[len] = '\0';
    }
    oar_free(got);
    return status;
}

long sum_of(oar_server *server) {
    char text[32] = "";
    void *got = NULL;
    size_t len = 0;
    OK(oar_query(server, NULL, NULL, 0, PATIENCE, &got, &len));
    CHECK(len > 0 && len < sizeof text);
    memcpy(text, got, len);
    oar_free(got);
    return atol(text);
}

void add(oar_server *server, long n, long sum) {
    char command[32], result[32] = "";
    (void)snprintf(command, sizeof command, "+%ld", n);
    OK(propose(server, command, result, sizeof result));
    CHECK(atol(result) == sum);
}

oar_group_info info_of(oar_server *server) {
    oar_group_info info;
    OAR_INIT(&info);
    OK(oar_server_group_info(server, 0, &info));
    return info;
}

oar_counts counts(void) {
    oar_counts c;
    OAR_INIT(&c);
    OK(oar_debug_counts(&c));
    return c;
}
