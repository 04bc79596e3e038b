/**
 * What the failures of the MongoDB driver mean. `toAppError` asks here, so that each is classified once.
 *
 * The driver's classes are told by their names and not imported: everything imports this file, also what runs before telemetry,
 * and telemetry sees only what is loaded after it.
 */
import type { MongoBulkWriteError, MongoError, MongoServerError } from 'mongodb';

/** MongoDB's 11000, also inside a bulk write. */
export function isDuplicateKey(error: unknown): boolean {
  if (isBulkWriteError(error)) return [error.writeErrors].flat().some((write) => write.code === 11000);
  return isMongoError(error) && error.code === 11000;
}

/** True when the server was not there to say no, false when it did say no; undefined for what is no failure of the driver. */
export function isStoreAway(error: unknown): boolean | undefined {
  if (!isMongoError(error)) return undefined;
  return !isServerError(error) || isPassing(error) || isUnconfirmed(error);
}

/** A bulk write that a majority has not confirmed: the server went away meanwhile. False when it refused a part for good. */
function isUnconfirmed(error: MongoServerError): boolean {
  if (!isBulkWriteError(error)) return false;
  return [error.writeErrors].flat().every(({ code }) => PASSING_CODES.includes(Number(code)));
}

/** Codes of a server that is stepping down, starting, or shutting down, and labels that promise a retry may help. */
const PASSING_CODES = [6, 7, 50, 64, 89, 91, 112, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436];

function isPassing(error: MongoServerError): boolean {
  const labels = ['TransientTransactionError', 'UnknownTransactionCommitResult', 'RetryableWriteError'];
  return PASSING_CODES.includes(Number(error.code)) || labels.some((label) => error.hasErrorLabel(label));
}

const isMongoError = (error: unknown): error is MongoError => isInstanceOf(error, 'MongoError');
const isServerError = (error: unknown): error is MongoServerError => isInstanceOf(error, 'MongoServerError');
const isBulkWriteError = (error: unknown): error is MongoBulkWriteError => isInstanceOf(error, 'MongoBulkWriteError');

/** As `instanceof`, by the name of the class. */
function isInstanceOf(error: unknown, className: string): boolean {
  if (!(error instanceof Error)) return false;
  for (let proto = Object.getPrototypeOf(error); proto; proto = Object.getPrototypeOf(proto)) {
    if (proto.constructor?.name === className) return true;
  }
  return false;
}
