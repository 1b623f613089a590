<?php
// Places orders under the numbers that customers chose, and sends again what was lost.
// The bug: where the first attempt was done, the second finds its number taken, and the
// customer, who has the order, gets a refusal.

// libpq reads PGHOST and so on
function connect(): PDO
{
    return new PDO('pgsql:', null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

// Is the order placed?  It is not if the number is taken.
function place(string $number, string $customer): bool
{
    for ($attempt = 0; $attempt < 30; $attempt++) {
        try {
            $db = connect();
            $db->prepare('INSERT INTO orders (number, customer, total) VALUES (?, ?, 440)')
                ->execute([$number, $customer]);
            return true;
        } catch (PDOException $e) {
            if ($e->getCode() === '23505') {
                return false;
            }
            if ($e->getCode() !== 'HY000' && $e->getCode() !== 7) { // a lost connection
                throw $e;
            }
        }
    }
    exit("no answer after 30 attempts\n");
}

$run = bin2hex(random_bytes(16));
$placed = 0;
for ($number = 0; $number < 100; $number++) {
    // the first and the second customer want the same number
    $placed += place("$run/" . max($number, 1), "$run/$number") ? 1 : 0;
}

$count = connect()->prepare('SELECT count(*) FROM orders WHERE starts_with(customer, ?)');
$count->execute([$run]);
$orders = $count->fetchColumn();
if ($placed !== 99 || $orders !== 99) {
    fwrite(STDERR, "wrong: 99 customers of 100 can have their number, $placed were not refused, $orders have it\n");
    exit(1);
}
echo "right: 99 orders, one refused\n";
