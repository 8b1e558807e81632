// Ground-truth server: answers like an LLM server at planned moments and records the actual ones.
// One thread, one epoll loop; nothing is written while it serves. See README.md beside it.
#include <algorithm>
#include <deque>
#include <queue>
#include <random>

#include "records.hpp"
#include "reply.hpp"

namespace {

struct Plan {
    ns_t due;
    int connection;
    uint32_t use;  // the connection's use counter: stale plans of closed connections are skipped
    bool operator>(const Plan& other) const { return due > other.due; }
};

struct Connection {
    int fd = -1;
    uint32_t use = 0;
    bool busy = false, in_slot = false, close_after = false, waits_for_room = false;
    std::string in;       // bytes of requests not yet answered
    ns_t newest_kernel = 0;
    std::string out;      // bytes that the socket did not take
    size_t out_done = 0;
    const Reply* reply = nullptr;
    bool streamed = false;
    int sent_chunks = 0;
    ns_t due = 0;         // planned moment of the next chunk
    ServedRequest record{};
    std::vector<Send> sends;
};

class Server {
    const Options& options;
    const int tokens, per_chunk, chunks, slots;
    const ns_t ttft, itl, jitter, spin;
    const bool normal;
    const size_t capacity;
    const Replies replies;
    std::mt19937_64 random;
    ns_t offset = realtime_offset_ns();
    const ns_t offset_start = offset;
    int epoll = epoll_create1(0), listener = -1, signals = -1;
    std::vector<Connection> connections;  // by file descriptor
    std::priority_queue<Plan, std::vector<Plan>, std::greater<Plan>> plans;
    std::deque<std::pair<int, uint32_t>> queue;
    int in_slots = 0;
    std::vector<ServedRequest> requests;
    std::vector<Send> sends;
    int64_t dropped = 0;

  public:
    explicit Server(const Options& o)
        : options(o), tokens(int(o.number("tokens"))), per_chunk(int(o.number("tokens-per-chunk"))),
          chunks((tokens + per_chunk - 1) / per_chunk), slots(int(o.number("slots"))), ttft(o.ms("ttft-ms")),
          itl(o.ms("itl-ms")), jitter(o.ms("jitter-ms")), spin(ns_t(o.number("spin-us") * 1000)),
          normal(o.text("jitter") == "normal"), capacity(size_t(o.number("capacity"))),
          replies(tokens, per_chunk), random(uint64_t(o.number("seed"))) {
        if (tokens < 1 || per_chunk < 1) die("--tokens and --tokens-per-chunk must be at least 1");
        connections.resize(65536);
        requests.reserve(capacity);
        sends.reserve(capacity * (ttft || itl ? chunks : 1));
        // touch the memory now, so that no page fault falls into the measurement
        requests.resize(requests.capacity()), requests.clear();
        sends.resize(sends.capacity()), sends.clear();
    }

    void listen_and_serve() {
        listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int one = 1;
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        // several servers may share a port: the kernel spreads the connections over them
        setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(uint16_t(options.number("port")));
        socklen_t size = sizeof address;
        if (bind(listener, (sockaddr*)&address, size) || listen(listener, 4096)) die("can't listen");
        getsockname(listener, (sockaddr*)&address, &size);
        sigset_t stop;
        sigemptyset(&stop), sigaddset(&stop, SIGTERM), sigaddset(&stop, SIGINT);
        sigprocmask(SIG_BLOCK, &stop, nullptr);
        signals = signalfd(-1, &stop, SFD_NONBLOCK);
        watch(listener, EPOLLIN, EPOLL_CTL_ADD), watch(signals, EPOLLIN, EPOLL_CTL_ADD);
        printf("%d\n", ntohs(address.sin_port));
        fflush(stdout);
        while (turn()) {}
    }

    void write_records() const {
        const std::string path = options.text("records");
        if (path.empty()) return;
        FILE* file = fopen(path.c_str(), "wb");
        if (!file) die("can't open " + path);
        FileHeader header{{'M', 'L', 'S', 'T', 'R', 'U', 'T', 'H'}, int64_t(requests.size()), int64_t(sends.size()),
                          dropped, offset_start, realtime_offset_ns()};
        write_all(file, std::vector<FileHeader>{header});
        write_all(file, requests);
        write_all(file, sends);
        if (fclose(file)) die("can't write " + path);
    }

  private:
    void watch(int fd, uint32_t events, int how) {
        epoll_event event{events, {}};
        event.data.fd = fd;
        if (epoll_ctl(epoll, how, fd, &event)) die("epoll");
    }

    // One turn of the loop; false after a signal to stop. Sleeps until shortly before the next
    // planned moment, then spins, because waking up takes longer than a send.
    bool turn() {
        while (!plans.empty() && plans.top().due <= now_ns()) {
            Plan plan = plans.top();
            plans.pop();
            Connection& c = connections[plan.connection];
            if (c.use == plan.use) send_due(c);
        }
        timespec wait{}, *limit = nullptr;
        if (!plans.empty()) {
            ns_t wait_ns = plans.top().due - now_ns() - spin;
            if (wait_ns > 0) wait = {wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
            limit = &wait;
        }
        epoll_event events[64];
        int n = epoll_pwait2(epoll, events, 64, limit, nullptr);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == signals) return false;
            if (fd == listener) {
                accept_all();
                continue;
            }
            Connection& c = connections[fd];
            if (events[i].events & EPOLLOUT) flush(c);
            if (c.fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read(c);
        }
        return true;
    }

    void accept_all() {
        for (int fd; (fd = accept(listener, nullptr, nullptr)) >= 0;) {
            if (size_t(fd) >= connections.size()) {
                close(fd);
                continue;
            }
            prepare(fd);
            Connection& c = connections[fd];
            uint32_t use = c.use + 1;
            c = Connection{};
            c.fd = fd, c.use = use;
            watch(fd, EPOLLIN, EPOLL_CTL_ADD);
        }
    }

    void drop(Connection& c) {
        if (c.busy) record(c, false);
        close(c.fd);
        c.fd = -1, c.use++;
        leave_slot(c);
    }

    void read(Connection& c) {
        static char buffer[262144];
        Arrival arrival = receive(c.fd, buffer, sizeof buffer);
        if (arrival.bytes < 0 && errno == EAGAIN) return;
        if (arrival.bytes <= 0) return drop(c);
        c.in.append(buffer, size_t(arrival.bytes));
        c.newest_kernel = arrival.kernel_ns;
        if (!c.busy) take_request(c);
    }

    // Whether the field (lower case, with its colon) is in the headers, and where its value starts.
    static const char* field(const char* head, const char* end, const char* name) {
        size_t n = strlen(name);
        for (const char* line = head; line + n < end;) {
            if (!strncasecmp(line, name, n)) {
                for (line += n; *line == ' ';) line++;
                return line;
            }
            line = static_cast<const char*>(memchr(line, '\n', size_t(end - line)));
            if (!line++) break;
        }
        return nullptr;
    }

    static bool says_true(const std::string& body, const char* key) {
        size_t at = body.find(key);
        if (at == std::string::npos) return false;
        at = body.find_first_not_of(" :", at + strlen(key));
        return at != std::string::npos && !body.compare(at, 4, "true");
    }

    void take_request(Connection& c) {
        size_t head_end = c.in.find("\r\n\r\n");
        if (head_end == std::string::npos) return;
        const char *head = c.in.data(), *end = head + head_end + 2;
        const bool post = !c.in.compare(0, 5, "POST ");
        const char* length = field(head, end, "content-length:");
        if (post && !length) return answer_at_once(c, replies.no_length, c.in.size());
        size_t total = head_end + 4 + (length ? size_t(atoll(length)) : 0);
        if (c.in.size() < total) return;
        const char* closing = field(head, end, "connection:");
        c.close_after = closing && !strncasecmp(closing, "close", 5);
        std::string path = c.in.substr(post ? 5 : 4, c.in.find(' ', post ? 5 : 4) - (post ? 5 : 4));
        Endpoint kind = path == "/v1/chat/completions" ? CHAT : path == "/v1/completions" ? COMPLETIONS
                        : path == "/completion"        ? COMPLETION : ENDPOINTS;
        if (!post || kind == ENDPOINTS) {
            const std::string& reply = path == "/health"      ? replies.health
                                       : path == "/v1/models" ? replies.models : replies.unknown;
            return answer_at_once(c, reply, total);
        }
        c.record = ServedRequest{};
        if (const char* id = field(head, end, "x-request-id:"))
            memcpy(c.record.id, id, std::min<size_t>(63, strcspn(id, "\r\n")));
        std::string body = c.in.substr(head_end + 4, total - head_end - 4);
        c.in.erase(0, total);
        c.busy = true;
        c.streamed = says_true(body, "\"stream\"");
        c.reply = replies.of(kind, says_true(body, "\"include_usage\""));
        c.record.arrival_user_ns = now_ns();
        c.record.kernel_time = c.newest_kernel != 0;
        c.record.arrival_ns = c.newest_kernel ? c.newest_kernel - offset : c.record.arrival_user_ns;
        c.record.streamed = c.streamed;
        c.sends.clear();
        c.sent_chunks = 0;
        if (slots && in_slots >= slots) queue.emplace_back(c.fd, c.use);
        else enter_slot(c, c.record.arrival_ns);
    }

    void answer_at_once(Connection& c, const std::string& reply, size_t consumed) {
        c.in.erase(0, consumed);
        if (send(c.fd, reply.data(), reply.size(), MSG_NOSIGNAL) < 0 || c.close_after) drop(c);
        else if (!c.in.empty()) take_request(c);
    }

    ns_t with_jitter(ns_t gap) {
        if (!jitter) return gap;
        double x = normal ? std::normal_distribution<>(0, double(jitter))(random)
                          : std::uniform_real_distribution<>(-double(jitter), double(jitter))(random);
        return std::max<ns_t>(0, gap + ns_t(x));
    }

    // Planned moments follow from the arrival (or the freed slot) alone, so lateness never adds up.
    void enter_slot(Connection& c, ns_t since) {
        in_slots++, c.in_slot = true;
        c.record.service_ns = since;
        c.due = since + with_jitter(ttft);
        if (!c.streamed)
            for (int i = 1; i < chunks; i++) c.due += with_jitter(itl);
        if (!ttft && !itl) send_due(c);
        else plans.push({c.due, c.fd, c.use});
    }

    void leave_slot(Connection& c) {
        if (!c.in_slot) return;
        c.in_slot = false, in_slots--;
        while (!queue.empty() && in_slots < slots) {
            auto [fd, use] = queue.front();
            queue.pop_front();
            if (connections[fd].use == use) enter_slot(connections[fd], now_ns());
        }
    }

    // Sends what is due: one chunk, or all that were planned for the same moment.
    void send_due(Connection& c) {
        const Reply& r = *c.reply;
        const ns_t planned = c.due;
        if (!c.streamed) {
            c.sent_chunks = chunks;
            return put(c, r.plain, planned, chunks);
        }
        int n = 0;
        do n++, c.due += with_jitter(itl);
        while (c.sent_chunks + n < chunks && c.due == planned);
        const bool first = !c.sent_chunks, last = c.sent_chunks + n == chunks;
        c.sent_chunks += n;
        if (first && last) return put(c, r.streamed, planned, n);
        if (n == 1 && !first && !last) return put(c, r.chunk, planned, n);
        std::string text = first ? r.head : "";
        for (int i = 0; i < n - last; i++) text += r.chunk;
        if (last) text += r.last_chunk + r.end;
        put(c, text, planned, n);
    }

    void put(Connection& c, const std::string& bytes, ns_t planned, int n) {
        Send s{planned, now_ns(), 0, n, 0};
        ssize_t size = c.out.empty() ? send(c.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) : 0;
        s.after_ns = now_ns();
        if (size < 0 && errno != EAGAIN) return drop(c);
        if (size_t(std::max<ssize_t>(size, 0)) < bytes.size()) {
            s.deferred = 1, s.after_ns = 0;
            c.out.append(bytes, size_t(std::max<ssize_t>(size, 0)));
            if (!c.waits_for_room) watch(c.fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD), c.waits_for_room = true;
        }
        c.sends.push_back(s);
        if (c.sent_chunks < chunks) plans.push({c.due, c.fd, c.use});
        else if (c.out.empty()) finish(c);
    }

    void flush(Connection& c) {
        ssize_t size = send(c.fd, c.out.data() + c.out_done, c.out.size() - c.out_done, MSG_NOSIGNAL);
        if (size < 0) return errno == EAGAIN ? void() : drop(c);
        c.out_done += size_t(size);
        if (c.out_done < c.out.size()) return;
        const ns_t now = now_ns();
        for (Send& s : c.sends)
            if (!s.after_ns) s.after_ns = now;
        c.out.clear(), c.out_done = 0, c.waits_for_room = false;
        watch(c.fd, EPOLLIN, EPOLL_CTL_MOD);
        if (c.sent_chunks == chunks) finish(c);
    }

    void finish(Connection& c) {
        record(c, true);
        c.busy = false;
        leave_slot(c);
        if (c.close_after) drop(c);
        else if (!c.in.empty()) take_request(c);
    }

    void record(Connection& c, bool finished) {
        if (requests.size() == requests.capacity() || sends.size() + c.sends.size() > sends.capacity()) {
            dropped++;
            return;
        }
        c.record.finished = finished;
        c.record.tokens = std::min(tokens, c.sent_chunks * per_chunk);
        c.record.first_send = int64_t(sends.size()), c.record.sends = int64_t(c.sends.size());
        requests.push_back(c.record);
        sends.insert(sends.end(), c.sends.begin(), c.sends.end());
    }
};

}  // namespace

int main(int argc, char** argv) {
    join_parent();
    Options options(argc, argv, {{"port", "0"}, {"ttft-ms", "50"}, {"itl-ms", "10"}, {"tokens", "64"},
                                 {"tokens-per-chunk", "1"}, {"slots", "0"}, {"jitter", "uniform"},
                                 {"jitter-ms", "0"}, {"seed", "1"}, {"spin-us", "200"},
                                 {"capacity", "20000"}, {"records", ""}});
    Server server(options);
    server.listen_and_serve();
    server.write_records();
}
