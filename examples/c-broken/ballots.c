/* ballots: a right state machine, and the same one with one mistake each, of the kind that C programs are made with.
 *
 *   ballots             check all of them, and the right one: exits with 0 if the check says of each what it should
 *   ballots MISTAKE     check one, and print what is found
 */
#include <oarlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CHOICES = 8 };

enum mistake { RIGHT, CLOCK, DICE, ADDRESS, SHARED, LIVE_SNAPSHOT, FORGETFUL, KEPT_BYTES, WRITING_QUERY, MISTAKES };
static const char *const names[MISTAKES] = {
    "right", "clock", "dice", "address", "shared", "live-snapshot", "forgetful", "kept-bytes", "writing-query",
};
static enum mistake now; /* the one that is made */

/* ---- The machine: votes for eight choices ---- */

/* Commands are two bytes: a choice and how many votes for it. The result is that choice's votes, as text. A query is a choice. */
struct ballots {
    uint64_t votes[CHOICES];
    uint64_t count;      /* of commands */
    int64_t latest;      /* cluster time of the last one */
    const char *command; /* KEPT_BYTES: of the last one, which is not ours to keep */
};

static oar_status ballots_new(void *user_data, uint64_t number, void **machine) {
    (void)user_data, (void)number;
    *machine = calloc(1, sizeof(struct ballots));
    return *machine == NULL ? oar_fail("no memory") : OAR_OK;
}

static uint64_t all_votes; /* SHARED: two machines in one process count together; two servers would not */

static void vote(struct ballots *b, const oar_entry *e) {
    const unsigned char *command = e->command;
    unsigned choice = command[0] % CHOICES;
    b->votes[choice] += command[1];
    b->count++;
    b->latest = e->time;
    switch (now) {
    case CLOCK: b->latest = (int64_t)time(NULL) + clock(); break;
    case DICE: b->votes[choice] += (uint64_t)rand() % 3; break;
    case ADDRESS: b->votes[(uintptr_t)b / sizeof *b % CHOICES]++; break; /* as by the order of a table of pointers */
    case SHARED: b->votes[choice] += ++all_votes; break;
    case KEPT_BYTES: b->command = e->command; break;
    default: break;
    }
}

static oar_status apply(void *machine, const oar_entry *entries, size_t count, oar_results *results) {
    struct ballots *b = machine;
    for (size_t i = 0; i < count; i++) {
        char text[32] = "no"; /* what is no command is refused; a refusal is a result too */
        if (entries[i].command_len == 2) {
            vote(b, &entries[i]);
            (void)snprintf(text, sizeof text, "%llu", (unsigned long long)b->votes[*(const unsigned char *)entries[i].command % CHOICES]);
        }
        if (oar_results_add(results, text, strlen(text)) != OAR_OK) return oar_fail("no memory");
    }
    return OAR_OK;
}

static oar_status query(void *machine, const void *question, size_t len, oar_buf *answer) {
    struct ballots *b = machine;
    unsigned choice = len == 0 ? 0 : *(const unsigned char *)question % CHOICES;
    if (now == WRITING_QUERY) b->votes[choice]++; /* "so that we see how often somebody asks" */
    return oar_buf_append(answer, &b->votes[choice], sizeof b->votes[choice]);
}

/* ---- Snapshots ---- */

static oar_status snapshot_prepare(void *machine, void **snapshot) {
    struct ballots *copy;
    if (now == LIVE_SNAPSHOT) { /* quick, and of no point in time: later commands change what is written */
        *snapshot = machine;
        return OAR_OK;
    }
    if ((copy = malloc(sizeof *copy)) == NULL) return oar_fail("no memory");
    *copy = *(struct ballots *)machine;
    *snapshot = copy;
    return OAR_OK;
}

static void snapshot_release(void *machine, void *snapshot) {
    if (snapshot != machine) free(snapshot);
}

static oar_status snapshot_write(void *machine, void *snapshot, oar_writer *writer) {
    const struct ballots *b = snapshot;
    char kept = now == KEPT_BYTES && b->command != NULL ? b->command[1] : 0;
    oar_status status = oar_writer_write(writer, b->votes, sizeof b->votes);
    (void)machine;
    if (status == OAR_OK) status = oar_writer_write(writer, &b->count, sizeof b->count);
    if (status == OAR_OK) status = oar_writer_write(writer, &b->latest, sizeof b->latest);
    return status == OAR_OK ? oar_writer_write(writer, &kept, 1) : status;
}

/* Reads exactly so many bytes. */
static oar_status read_all(oar_reader *reader, void *to, size_t len) {
    size_t got;
    oar_status status = oar_reader_read(reader, to, len, &got);
    return status == OAR_OK && got < len ? oar_fail("the snapshot ends too early") : status;
}

static oar_status restore(void *machine, oar_reader *reader) {
    struct ballots fresh;
    char kept, more;
    size_t got;
    oar_status status;
    memset(&fresh, 0, sizeof fresh);
    status = read_all(reader, fresh.votes, sizeof fresh.votes);
    if (status == OAR_OK) status = read_all(reader, &fresh.count, sizeof fresh.count);
    if (status == OAR_OK) status = read_all(reader, &fresh.latest, sizeof fresh.latest);
    if (status == OAR_OK) status = read_all(reader, &kept, 1);
    if (status == OAR_OK) status = oar_reader_read(reader, &more, 1, &got);
    if (status != OAR_OK) return status;
    if (got > 0) return oar_fail("the snapshot goes on behind its end");
    if (now == FORGETFUL) fresh.count = 0; /* a field that was added later, and not here */
    *(struct ballots *)machine = fresh;
    return OAR_OK;
}

static void destroy(void *machine) { free(machine); }

static const oar_state_machine machine = {
    sizeof machine, 0, apply, query, snapshot_prepare, snapshot_write, snapshot_release, restore, NULL, NULL, NULL, destroy,
};

/* ---- The check ---- */

/* A command, of the random number and nothing else. */
static oar_status command(void *user_data, uint64_t random, oar_buf *made) {
    unsigned char bytes[2];
    (void)user_data;
    bytes[0] = (unsigned char)(random % CHOICES);
    bytes[1] = (unsigned char)(random >> 8);
    return oar_buf_append(made, bytes, sizeof bytes);
}

static oar_status check(enum mistake mistake) {
    oar_check_options options;
    OAR_INIT(&options);
    options.flags = OAR_CHECK_SNAPSHOTS_UNCHECKED; /* they carry no sum of their own; a server's file does */
    options.machine = &machine;
    options.machine_new = ballots_new;
    options.command = command;
    now = mistake;
    return oar_sim_run(&options, NULL);
}

/* What is said of each. */
static const char *const said[MISTAKES] = {
    "",
    "first difference",
    "first difference",
    "first difference",
    "first difference",
    "a snapshot is the state when it was captured",
    "a restored snapshot equals replay",
    "copy what you keep",
    "query changes nothing",
};

int main(int argc, char **argv) {
    int wrong = 0;
    if (OAR_CHECK_ABI() != OAR_OK) return fprintf(stderr, "%s\n", oar_last_error()), 1;
    for (int m = RIGHT; m < MISTAKES; m++) {
        if (argc > 1 && strcmp(argv[1], names[m]) != 0) continue;
        oar_status status = check((enum mistake)m);
        const char *text = status == OAR_OK ? "" : oar_last_error();
        if (argc > 1) return printf("%s\n%s\n", oar_status_name(status), text) < 0;
        int found = status == (m == RIGHT ? OAR_OK : OAR_ERR_CHECK_FAILED) && strstr(text, said[m]) != NULL;
        printf("%-14s %s\n", names[m], found ? (m == RIGHT ? "passes" : "is found") : "IS NOT FOUND");
        if (!found) wrong++, printf("  %s: %s\n", oar_status_name(status), text);
    }
    return argc > 1 || wrong > 0;
}
