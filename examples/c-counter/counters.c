/* counters: named counters in C, replicated over three processes, with snapshots.
 *
 *   counters FILE init PORT       make a cluster of three on this machine: FILE, and its data directories beside it
 *   counters FILE ID              run a server
 *   counters FILE add NAME N      add to a counter and print its value
 *   counters FILE get NAME        print it
 */
#include <oarlock.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- The state: counters by name, sorted, so that two servers write the same snapshot ---- */

enum { NAME_MAX_BYTES = 63 };

struct counter {
    char name[NAME_MAX_BYTES + 1];
    int64_t value;
};

struct counters {
    struct counter *list;
    size_t count, room;
};

/* Where a name stands, or would stand. */
static size_t place(const struct counters *c, const char *name) {
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(c->list[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct counter *find(const struct counters *c, const char *name) {
    size_t at = place(c, name);
    return at < c->count && strcmp(c->list[at].name, name) == 0 ? &c->list[at] : NULL;
}

/* The counter of that name, made if there is none; NULL: out of memory. */
static struct counter *take(struct counters *c, const char *name) {
    struct counter *there = find(c, name);
    size_t at = place(c, name);
    if (there != NULL) return there;
    if (c->count == c->room) {
        size_t room = c->room == 0 ? 16 : 2 * c->room;
        struct counter *larger = realloc(c->list, room * sizeof *larger);
        if (larger == NULL) return NULL;
        c->list = larger;
        c->room = room;
    }
    memmove(&c->list[at + 1], &c->list[at], (c->count - at) * sizeof *c->list);
    c->count++;
    memset(&c->list[at], 0, sizeof c->list[at]); /* also what follows the name, which goes into snapshots */
    strcpy(c->list[at].name, name);
    return &c->list[at];
}

/* ---- The state machine ---- */

/* A command is a counter in the form that it has in memory: its name, and what to add. */
static oar_status apply(void *user_data, const oar_entry *entries, size_t count, oar_results *results) {
    for (size_t i = 0; i < count; i++) {
        static const char refusal[] = "no command";
        struct counter add, *counter;
        oar_status status;
        if (entries[i].command_len != sizeof add) { /* a refusal is a result, the same on every server */
            status = oar_results_add(results, refusal, sizeof refusal - 1);
        } else {
            memcpy(&add, entries[i].command, sizeof add);
            add.name[NAME_MAX_BYTES] = '\0';
            if ((counter = take(user_data, add.name)) == NULL) return oar_fail("no memory for another counter");
            /* Numbers that run over wrap, the same on every server. */
            counter->value = (int64_t)((uint64_t)counter->value + (uint64_t)add.value);
            status = oar_results_add(results, &counter->value, sizeof counter->value);
        }
        if (status != OAR_OK) return status;
    }
    return OAR_OK;
}

static oar_status query(void *user_data, const void *name, size_t name_len, oar_buf *answer) {
    char text[NAME_MAX_BYTES + 1] = "";
    const struct counter *counter;
    if (name_len > NAME_MAX_BYTES) return oar_fail("a name has 63 bytes at most");
    memcpy(text, name, name_len);
    if ((counter = find(user_data, text)) == NULL) return oar_fail("there is no such counter");
    return oar_buf_append(answer, &counter->value, sizeof counter->value);
}

/* Captures the state by a copy, while commands wait; it is written while they go on. */
static oar_status snapshot_prepare(void *user_data, void **snapshot) {
    const struct counters *c = user_data;
    struct counters *copy = calloc(1, sizeof *copy);
    if (copy != NULL && c->count > 0 && (copy->list = malloc(c->count * sizeof *copy->list)) == NULL) {
        free(copy);
        copy = NULL;
    }
    if (copy == NULL) return oar_fail("no memory for a snapshot");
    copy->count = c->count;
    if (c->count > 0) memcpy(copy->list, c->list, c->count * sizeof *c->list);
    *snapshot = copy;
    return OAR_OK;
}

static oar_status snapshot_write(void *user_data, void *snapshot, oar_writer *writer) {
    const struct counters *copy = snapshot;
    (void)user_data;
    return oar_writer_write(writer, copy->list, copy->count * sizeof *copy->list);
}

static void snapshot_release(void *user_data, void *snapshot) {
    struct counters *copy = snapshot;
    (void)user_data;
    free(copy->list);
    free(copy);
}

static oar_status restore(void *user_data, oar_reader *reader) {
    struct counters *c = user_data;
    struct counter one;
    c->count = 0;
    for (;;) {
        size_t got;
        oar_status status = oar_reader_read(reader, &one, sizeof one, &got);
        if (status != OAR_OK) return status;
        if (got == 0) return OAR_OK;
        if (got < sizeof one) return oar_fail("the snapshot ends within a counter");
        struct counter *there = take(c, one.name);
        if (there == NULL) return oar_fail("no memory for another counter");
        *there = one;
    }
}

static void destroy(void *user_data) {
    struct counters *c = user_data;
    free(c->list);
    free(c);
}

/* ---- The program ---- */

static void check(oar_status status) {
    if (status == OAR_OK) return;
    fprintf(stderr, "%s: %s\n", oar_status_name(status), oar_last_error());
    exit(1);
}

static void make_cluster(const char *file, uint16_t port) {
    oar_config *config;
    check(oar_config_generate(3, "data", port, &config));
    check(oar_config_set(config, "snapshots.log_bytes", "64 KiB")); /* small, so that one sees them */
    check(oar_config_write_file(config, file));
    for (uint64_t id = 1; id <= 3; id++) check(oar_server_format(config, id));
    check(oar_config_free(config));
}

static void run_server(oar_config *config, uint64_t id) {
    oar_state_machine machine;
    oar_server_options options;
    oar_server *server;
    OAR_INIT(&machine);
    machine.apply = apply;
    machine.query = query;
    machine.snapshot_prepare = snapshot_prepare;
    machine.snapshot_write = snapshot_write;
    machine.snapshot_release = snapshot_release;
    machine.restore = restore;
    machine.destroy = destroy;
    OAR_INIT(&options);
    options.machine = &machine;
    options.machine_user_data = calloc(1, sizeof(struct counters));
    check(oar_server_open(config, id, &options, &server));
    check(oar_server_start(server));
    check(oar_server_wait_ready(server, 60 * OAR_SECOND));
    oar_group_info info;
    OAR_INIT(&info);
    check(oar_server_group_info(server, 0, &info));
    printf("ready, at snapshot %llu\n", (unsigned long long)info.snapshot_index);
    fflush(stdout);
    check(oar_server_wait_stopped(server, OAR_FOREVER)); /* until it is killed, or stops itself and says why */
}

static void ask(oar_config *config, const char *name, const char *add) {
    oar_client *client;
    void *answer;
    size_t answer_len;
    int64_t value;
    check(oar_client_open(config, NULL, &client));
    if (add != NULL) {
        struct counter command = {"", strtoll(add, NULL, 10)};
        strncpy(command.name, name, NAME_MAX_BYTES);
        check(oar_client_propose(client, NULL, &command, sizeof command, 10 * OAR_SECOND, &answer, &answer_len));
    } else {
        check(oar_client_query(client, NULL, name, strlen(name), 10 * OAR_SECOND, &answer, &answer_len));
    }
    if (answer_len == sizeof value) {
        memcpy(&value, answer, sizeof value);
        printf("%lld\n", (long long)value);
    }
    oar_free(answer);
    check(oar_client_free(client));
}

/* Hands leadership to a server, and prints who belongs to the group. */
static void members(oar_config *config, uint64_t to) {
    oar_client *client;
    oar_membership all;
    oar_member one;
    void *answer;
    size_t answer_len;
    OAR_INIT(&all);
    OAR_INIT(&one);
    check(oar_client_open(config, NULL, &client));
    check(oar_client_transfer_leadership(client, to, 10 * OAR_SECOND));
    check(oar_client_members(client, 10 * OAR_SECOND, &answer, &answer_len));
    check(oar_membership_read(answer, answer_len, &all));
    for (uint32_t i = 0; i < all.members; i++) {
        check(oar_member_read(answer, answer_len, i, &one));
        printf("%llu at %s%s\n", (unsigned long long)one.id, one.address, one.roles & OAR_MEMBER_VOTER ? ", votes" : "");
    }
    oar_free(answer);
    check(oar_client_free(client));
}

int main(int argc, char **argv) {
    oar_config *config;
    check(OAR_CHECK_ABI());
    if (argc < 3) {
        fprintf(stderr, "usage: counters FILE init PORT | FILE ID | FILE add NAME N | FILE get NAME | FILE lead ID\n");
        return 2;
    }
    if (argc == 4 && strcmp(argv[2], "init") == 0) {
        make_cluster(argv[1], (uint16_t)atoi(argv[3]));
        return 0;
    }
    check(oar_config_load_file(argv[1], &config));
    if (argc == 4 && strcmp(argv[2], "lead") == 0) {
        members(config, strtoull(argv[3], NULL, 10));
    } else if (argc == 3) {
        run_server(config, strtoull(argv[2], NULL, 10));
    } else {
        ask(config, argv[3], argc > 4 ? argv[4] : NULL);
    }
    check(oar_config_free(config));
    return 0;
}
