<?php
// The shop by PDO.

function expect(bool $right, string $what): void
{
    if (!$right) {
        fwrite(STDERR, "wrong: $what\n");
        exit(1);
    }
    echo "$what\n";
}

// libpq reads PGHOST and so on
function connect(): PDO
{
    return new PDO('pgsql:', null, null, [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
    ]);
}

function call(PDO $db, string $sql, array $values): array
{
    $statement = $db->prepare($sql);
    $statement->execute($values);
    return $statement->fetchAll();
}

function place(string $key, array $order, bool $lose = false): array
{
    $db = connect();
    $db->beginTransaction();
    if ($lose) {
        $db->exec('SET LOCAL idem.lose_ack = 1');
    }
    [$placed] = call($db, "SELECT * FROM idem_upsert(?, 'orders', ?)", [$key, json_encode($order)]);
    $db->commit();
    return $placed;
}

// an array as PostgreSQL spells it
function pg_array(array $values): string
{
    return '{' . implode(',', array_map(fn ($v) => '"' . addcslashes($v, '"\\') . '"', $values)) . '}';
}

$key = bin2hex(random_bytes(16));
$order = ['customer' => 'pdo', 'total' => 440];
try {
    place($key, $order, true);
    expect(false, 'nothing was lost');
} catch (PDOException $e) {
    echo 'lost: ', get_class($e), ' ', $e->getCode(), "\n";
}
$placed = place($key, $order);
expect($placed['outcome'] === 'inserted' && $placed['replayed'], 'placed: inserted, replayed');
$row = json_decode($placed['result'], true);

$db = connect();
[$moved] = call(
    $db,
    "SELECT * FROM order_transition('orders', ?, ?, expected_version => ?, key => ?)",
    [$row['id'], 'PROCESSING', $row['version'], "$key/PROCESSING"]
);
expect(
    $moved['outcome'] === 'applied' && $moved['version'] === 2,
    "moved order: $moved[from_state] -> $moved[to_state], version $moved[version]"
);

$parcel = sprintf('%s-%s-%s-%s-%s', ...sscanf(bin2hex(random_bytes(16)), '%8s%4s%4s%4s%12s'));
call($db, 'INSERT INTO parcels VALUES (?, ?) RETURNING id', [$parcel, 'pdo']);
[$moved] = call($db, "SELECT * FROM order_transition('parcels', ?, ?)", [$parcel, 'PROCESSING']);
expect(
    $moved['version'] === 2,
    "moved parcel: $moved[from_state] -> $moved[to_state], version $moved[version]"
);

$messages = ["$key/1", "$key/2", "$key/1"];
$counts = array_map(
    fn () => count(call($db, "SELECT * FROM idem_consume_batch('pdo', ?)", [pg_array($messages)])),
    [1, 2]
);
expect($counts === [2, 0], "consumed: $counts[0], then $counts[1]");

try {
    call($db, "SELECT * FROM order_transition('orders', ?, ?)", [$row['id'], 'DELIVERED']);
    expect(false, 'not refused');
} catch (PDOException $e) {
    expect($e->getCode() === 'ID201', 'refused: ' . $e->getCode() . ' (PDOException::getCode)');
}
